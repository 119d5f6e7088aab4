package command

import pb "go.etcd.io/etcd/api/v3/etcdserverpb"

// CheckRange reports what is structurally wrong with r: ErrEmptyKey or ErrInvalidSortOption.
func CheckRange(r *pb.RangeRequest) error {
	if len(r.Key) == 0 {
		return ErrEmptyKey
	}
	_, order := pb.RangeRequest_SortOrder_name[int32(r.SortOrder)]
	_, target := pb.RangeRequest_SortTarget_name[int32(r.SortTarget)]
	if !order || !target {
		return ErrInvalidSortOption
	}
	return nil
}

// CheckPut reports what is structurally wrong with r: ErrEmptyKey, ErrValueProvided or ErrLeaseProvided.
func CheckPut(r *pb.PutRequest) error {
	switch {
	case len(r.Key) == 0:
		return ErrEmptyKey
	case r.IgnoreValue && len(r.Value) != 0:
		return ErrValueProvided
	case r.IgnoreLease && r.Lease != 0:
		return ErrLeaseProvided
	}
	return nil
}

// CheckDeleteRange reports what is structurally wrong with r: ErrEmptyKey.
func CheckDeleteRange(r *pb.DeleteRangeRequest) error {
	if len(r.Key) == 0 {
		return ErrEmptyKey
	}
	return nil
}

// CheckTxn reports what is structurally wrong with r and everything nested in it: more than maxOps operations along a
// path, what the other checks report, ErrKeyNotFound for an empty operation, and ErrDuplicateKey where a branch puts
// a key twice, or puts and deletes it.
func CheckTxn(r *pb.TxnRequest, maxOps int) error {
	if err := checkTxnOps(r, maxOps); err != nil {
		return err
	}
	for _, branch := range [][]*pb.RequestOp{r.Success, r.Failure} {
		if _, err := checkBranch(branch); err != nil {
			return err
		}
	}
	return nil
}

func checkTxnOps(r *pb.TxnRequest, maxOps int) error {
	ops := max(len(r.Compare), len(r.Success), len(r.Failure))
	if ops > maxOps {
		return ErrTooManyOps
	}
	for _, c := range r.Compare {
		if len(c.Key) == 0 {
			return ErrEmptyKey
		}
	}
	for _, branch := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range branch {
			if err := checkOp(op, maxOps-ops); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkOp(op *pb.RequestOp, maxOps int) error {
	switch {
	case op.GetRequestRange() != nil:
		return CheckRange(op.GetRequestRange())
	case op.GetRequestPut() != nil:
		return CheckPut(op.GetRequestPut())
	case op.GetRequestDeleteRange() != nil:
		return CheckDeleteRange(op.GetRequestDeleteRange())
	case op.GetRequestTxn() != nil:
		return checkTxnOps(op.GetRequestTxn(), maxOps)
	}
	return ErrKeyNotFound
}

// IsReadOnly reports whether r writes nothing, whichever branches are taken.
func IsReadOnly(r *pb.TxnRequest) bool {
	for _, branch := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range branch {
			if op.GetRequestPut() != nil || op.GetRequestDeleteRange() != nil {
				return false
			}
			if n := op.GetRequestTxn(); n != nil && !IsReadOnly(n) {
				return false
			}
		}
	}
	return true
}

// TxnPuts reports whether r puts a key, in whatever branch.
func TxnPuts(r *pb.TxnRequest) bool {
	for _, branch := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range branch {
			if n := op.GetRequestTxn(); op.GetRequestPut() != nil || n != nil && TxnPuts(n) {
				return true
			}
		}
	}
	return false
}
