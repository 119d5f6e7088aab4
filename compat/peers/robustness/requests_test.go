package robustness

import (
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/tests/v3/robustness/model"

	"github.com/mimir-kv/mimir/kv/command"
)

// requests are commands of a history as etcd's model knows them.
func requests(commands [][]byte) (all []model.EtcdRequest, err error) {
	for position, bytes := range commands {
		inner, _, _, err := command.Unwrap(bytes)
		if err != nil {
			return nil, fmt.Errorf("command %d: %w", position+1, err)
		}
		decoded, err := command.Decode(inner)
		if err != nil {
			return nil, fmt.Errorf("command %d: %w", position+1, err)
		}
		request, err := modelled(decoded)
		if err != nil {
			return nil, fmt.Errorf("command %d: %w", position+1, err)
		}
		all = append(all, request)
	}
	return all, nil
}

func modelled(decoded any) (model.EtcdRequest, error) {
	switch r := decoded.(type) {
	case *pb.PutRequest:
		return transaction(model.EtcdOperation{Type: model.PutOperation, Put: put(r)}), nil
	case *pb.DeleteRangeRequest:
		return transaction(model.EtcdOperation{
			Type: model.DeleteOperation, Delete: model.DeleteOptions{Key: string(r.Key)},
		}), nil
	case *pb.TxnRequest:
		txn, err := modelledTxn(r)
		return model.EtcdRequest{Type: model.Txn, Txn: txn}, err
	case *pb.CompactionRequest:
		return model.EtcdRequest{
			Type: model.Compact, Compact: &model.CompactRequest{Revision: r.Revision},
		}, nil
	case *pb.LeaseGrantRequest:
		return model.EtcdRequest{
			Type: model.LeaseGrant, LeaseGrant: &model.LeaseGrantRequest{LeaseID: r.ID},
		}, nil
	case *pb.LeaseRevokeRequest:
		return model.EtcdRequest{
			Type: model.LeaseRevoke, LeaseRevoke: &model.LeaseRevokeRequest{LeaseID: r.ID},
		}, nil
	}
	return model.EtcdRequest{}, fmt.Errorf("no client asked for a %T", decoded)
}

func transaction(ops ...model.EtcdOperation) model.EtcdRequest {
	return model.EtcdRequest{Type: model.Txn, Txn: &model.TxnRequest{OperationsOnSuccess: ops}}
}

func put(r *pb.PutRequest) model.PutOptions {
	return model.PutOptions{Key: string(r.Key), Value: model.ToValueOrHash(string(r.Value)), LeaseID: r.Lease}
}

func modelledTxn(r *pb.TxnRequest) (*model.TxnRequest, error) {
	txn := &model.TxnRequest{}
	for _, c := range r.Compare {
		condition := model.EtcdCondition{Key: string(c.Key)}
		switch {
		case c.Result == pb.Compare_EQUAL && c.Target == pb.Compare_VERSION:
			condition.ExpectedVersion = c.GetVersion()
		case c.Result == pb.Compare_EQUAL && c.Target == pb.Compare_MOD:
			condition.ExpectedRevision = c.GetModRevision()
		default:
			return nil, fmt.Errorf("the model has no comparison like %v", c)
		}
		txn.Conditions = append(txn.Conditions, condition)
	}
	var err error
	if txn.OperationsOnSuccess, err = operations(r.Success); err != nil {
		return nil, err
	}
	txn.OperationsOnFailure, err = operations(r.Failure)
	return txn, err
}

func operations(ops []*pb.RequestOp) (all []model.EtcdOperation, err error) {
	for _, op := range ops {
		switch {
		case op.GetRequestRange() != nil:
			r := op.GetRequestRange()
			all = append(all, model.EtcdOperation{Type: model.RangeOperation, Range: model.RangeOptions{
				Start: string(r.Key), End: string(r.RangeEnd), Limit: r.Limit, KeysOnly: r.KeysOnly,
			}})
		case op.GetRequestPut() != nil:
			all = append(all, model.EtcdOperation{Type: model.PutOperation, Put: put(op.GetRequestPut())})
		case op.GetRequestDeleteRange() != nil:
			all = append(all, model.EtcdOperation{Type: model.DeleteOperation,
				Delete: model.DeleteOptions{Key: string(op.GetRequestDeleteRange().Key)}})
		default:
			return nil, fmt.Errorf("the model has no operation like %v", op)
		}
	}
	return all, nil
}
