package kv

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
)

// What is beside the keys is equal on nodes of equal history wherever the positions meet at which they held it, and
// says of itself at which positions that was.
func TestBeside(t *testing.T) {
	a, b := newNode(t), newNode(t)
	look := func(n *node) Beside {
		t.Helper()
		d, err := DigestBeside(t.Context(), n.Store)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	both := func(commands ...[]byte) {
		t.Helper()
		for _, c := range commands {
			a.apply(c)
		}
		b.apply(commands...)
	}
	grant := func(id int64) []byte { return command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: id, TTL: 60}) }
	put := command.EncodePut(&pb.PutRequest{Key: []byte("k"), Value: []byte("v")})
	both(put, grant(7), put, put)
	x, y := look(a), look(b)
	if x.LeaseSum != y.LeaseSum || x.UserSum != y.UserSum || x.AlarmSum != y.AlarmSum || x.Leases != 1 {
		t.Errorf("%+v and %+v", x, y)
	}
	if x.Since != 2 || x.At != 4 || y.Since != 4 || y.At != 4 { // of a batch only its end is known
		t.Errorf("%+v and %+v", x, y)
	}
	a.apply(put)
	if z := look(a); z.Since != 2 || z.At != 5 || z.LeaseSum != x.LeaseSum {
		t.Errorf("a put changed what is beside the keys: %+v", z)
	}
	user, err := command.EncodeAuth(&pb.AuthRoleAddRequest{Name: "r"})
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string][]byte{
		"a lease":       grant(8),
		"a lease's end": command.EncodeLeaseExpiryPart(7, [][]byte{[]byte("none")}, command.Begins),
		"a role":        user,
		"an alarm": command.EncodeAlarm(&pb.AlarmRequest{
			Action: pb.AlarmRequest_ACTIVATE, MemberID: 3, Alarm: command.AlarmDiffers,
		}),
	} {
		before := look(a)
		a.apply(c)
		after := look(a)
		changed := 0
		for _, d := range []bool{
			before.LeaseSum != after.LeaseSum, before.UserSum != after.UserSum, before.AlarmSum != after.AlarmSum,
		} {
			if d {
				changed++
			}
		}
		if changed != 1 || after.Since != after.At || after.At != before.At+1 {
			t.Errorf("%s: %+v, before %+v", what, after, before)
		}
	}
	before := look(a)
	if err := a.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a = openNode(t, a.fs)
	after := look(a)
	before.Since, before.Settled = before.At, before.At // nothing before is known any more
	if after != before {
		t.Errorf("%+v after a start, was %+v", after, before)
	}
}

// Who was compared and differs is no alarm of etcd's, so that it stops nobody's writes.
func TestAlarmsAboutWhoDiffersAreNotEtcds(t *testing.T) {
	n := newNode(t)
	for _, kind := range []pb.AlarmType{command.AlarmDiffers, command.AlarmUnsure} {
		n.apply(command.EncodeAlarm(&pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: 3, Alarm: kind}))
		if !Raised(n.Store, kind, 3) || Raised(n.Store, kind, 4) || len(Members(n.Store, kind)) != 1 {
			t.Errorf("%v is not raised", kind)
		}
	}
	if got := n.Alarms(); len(got) != 0 || !Compared(n.Store, 3) || Compared(n.Store, 4) {
		t.Errorf("alarms of etcd: %v", got)
	}
}
