package etcdapi

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// sendFragments sends a watch response in as few messages as it takes to keep each below limitBytes; one event is
// never cut. All but the last are marked as fragments. Each message is new, because gRPC may read it after Send has
// returned.
func sendFragments(whole *pb.WatchResponse, limitBytes int, send func(*pb.WatchResponse) error) error {
	if len(whole.Events) < 2 || proto.Size(whole) < limitBytes {
		return send(whole)
	}
	events := whole.Events
	for len(events) > 0 {
		fragment := &pb.WatchResponse{Header: whole.Header, WatchId: whole.WatchId, Fragment: true}
		size := proto.Size(fragment)
		fits := 0
		for fits < len(events) {
			size += eventBytes(proto.Size(events[fits]))
			if fits > 0 && size >= limitBytes {
				break
			}
			fits++
		}
		fragment.Events, events = events[:fits:fits], events[fits:]
		fragment.Fragment = len(events) > 0
		if err := send(fragment); err != nil {
			return err
		}
	}
	return nil
}

// eventsField is the number of the field of events in a response.
const eventsField = 11

// eventBytes is what an event of n bytes takes in a response: its field number and length come before it.
func eventBytes(n int) int { return protowire.SizeTag(eventsField) + protowire.SizeBytes(n) }
