package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/backup/sides"
)

// mostClaims is how often it is tried to put the place before the one that writes puts it once more.
const mostClaims = 100

// errChanged says that the place was changed, and not by who was started later: deleted, or by what was under way.
var errChanged = errors.New("the place in the etcd has changed meanwhile")

// changedTo returns the error of a place that has changed.
func (m *mirror) changedTo(now placed) error {
	if m.overtaken(now) {
		return fmt.Errorf("%w: it was started later, and has put the place, which is key %q", ErrOvertaken, now.key)
	}
	return errChanged
}

// claim puts the place with this mirror's name, so that all others are refused.
func (s *session) claim(ctx context.Context) (err error) {
	if err := s.apart(ctx); err != nil {
		return err
	}
	if err := s.alone(ctx); err != nil {
		return err
	}
	for range mostClaims {
		if err = s.claimNow(ctx); !errors.Is(err, errChanged) {
			break
		}
	}
	if err != nil {
		return err
	}
	return s.aloneStill(ctx)
}

// aloneStill is alone behind the claim, before anything else is done: of two mirrors that were begun at once the one
// whose place was made last gives way, and takes its place with it if it has put nothing there.
func (s *session) aloneStill(ctx context.Context) error {
	err := s.alone(ctx)
	if !errors.Is(err, ErrForeign) || s.at.Revision != 0 {
		return err
	}
	within, cancel := context.WithTimeout(ctx, sides.AnswerTime)
	defer cancel()
	_, failed := pb.NewKVClient(s.etcd.Conn).Txn(within, &pb.TxnRequest{
		Compare: s.at.unchanged(), Success: []*pb.RequestOp{opDelete(s.at.key)}})
	return errors.Join(err, failed)
}

func (s *session) claimNow(ctx context.Context) (err error) {
	if s.at, err = readPlace(ctx, s.etcd, s.ToPrefix); err != nil {
		return err
	}
	if !s.read {
		s.read, s.over = true, s.at.Run
	}
	h, err := s.fleet.Header(ctx)
	if err != nil {
		return err
	}
	fleet := strconv.FormatUint(h.ClusterId, 16)
	next := place{Version: placeVersion, Fleet: fleet, Prefix: text(s.Prefix), ToPrefix: text(s.ToPrefix),
		Revision: s.at.Revision, Comparing: s.at.Comparing || s.at.sharesLeases(), Run: s.run,
		Given: s.at.Given, Print: s.at.Print}
	switch was := s.at; {
	case was.mod == 0:
		if err := s.unoccupied(ctx); err != nil {
			return err
		}
	case s.overtaken(was):
		return s.changedTo(was)
	case was.Fleet != fleet || was.Prefix != next.Prefix:
		if !s.Overwrite {
			return fmt.Errorf("%w: keys %q of fleet %s at %q; choose another --to-prefix, or --overwrite", ErrForeign,
				was.Prefix, was.Fleet, s.ToPrefix)
		}
		next.Revision, next.Comparing, next.Given, next.Print = 0, false, 0, 0
	case h.Revision < was.Revision:
		return s.behind(h.Revision)
	default:
		if err := s.sameHistory(ctx, was); err != nil {
			return err
		}
	}
	if err := s.write(ctx, nil, &next); err != nil {
		return err
	}
	s.over, s.claimed = s.run, true
	return nil
}

// apart returns ErrItself if what is written is what is read.
func (s *session) apart(ctx context.Context) error {
	from, err := s.fleet.Header(ctx)
	if err != nil {
		return err
	}
	to, err := s.etcd.Header(ctx)
	if err != nil || from.ClusterId != to.ClusterId {
		return err
	}
	s.leases.one = true
	for _, written := range []string{s.ToPrefix, string(placeKey(s.ToPrefix))} {
		if overlap(s.Prefix, written) {
			return fmt.Errorf("%w: both sides are cluster %x, and keys %q are among or around keys %q", ErrItself,
				to.ClusterId, s.Prefix, written)
		}
	}
	return nil
}

// alone returns ErrForeign if the keys of another mirror are among those that are to be written, or around them, and
// its place was made before this one's, if there is one: who made his later gives way, or has, and left it. Who may not
// list places is not told.
func (s *session) alone(ctx context.Context) error {
	if strings.HasPrefix(s.ToPrefix, placePrefix) {
		return fmt.Errorf("%w: places of mirrors are at %q; choose another --to-prefix", ErrForeign, placePrefix)
	}
	ctx, cancel := context.WithTimeout(ctx, sides.AnswerTime)
	defer cancel()
	key, end := sides.RangeOf(placePrefix)
	r, err := pb.NewKVClient(s.etcd.Conn).Range(ctx, &pb.RangeRequest{Key: key, RangeEnd: end, KeysOnly: true},
		sides.Large)
	switch {
	case status.Code(err) == codes.PermissionDenied:
		return nil
	case err != nil:
		return fmt.Errorf("the places in the etcd: %w", err)
	}
	own := slices.IndexFunc(r.Kvs, func(kv *mvccpb.KeyValue) bool { return bytes.Equal(kv.Key, placeKey(s.ToPrefix)) })
	for _, kv := range r.Kvs {
		other := strings.TrimPrefix(string(kv.Key), placePrefix)
		first := own < 0 || kv.CreateRevision < r.Kvs[own].CreateRevision
		if other != s.ToPrefix && first && overlap(other, s.ToPrefix) {
			return fmt.Errorf("%w: keys %q, and these would be %q; choose another --to-prefix, or delete key %q if "+
				"nothing is mirrored there any more", ErrForeign, other, s.ToPrefix, kv.Key)
		}
	}
	return nil
}

// overlap reports whether a key may begin with both.
func overlap(one, other string) bool {
	return strings.HasPrefix(one, other) || strings.HasPrefix(other, one)
}

// unoccupied returns ErrOccupied if there is something where nothing was mirrored yet.
func (s *session) unoccupied(ctx context.Context) error {
	if s.Overwrite {
		return nil
	}
	there := newPages(s.etcd, s.ToPrefix, 0)
	there.Limit = 1
	for {
		kv, err := there.first(ctx)
		if err != nil || kv == nil {
			return err
		}
		if !isPlace(kv.Key) {
			return fmt.Errorf("%w, %q: choose another --to-prefix, or --overwrite to have replaced and deleted what "+
				"the fleet has otherwise", ErrOccupied, kv.Key)
		}
		there.next()
	}
}
