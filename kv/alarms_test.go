package kv

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
)

// Alarms are part of the content: they are there after a restart and in a copy, and change no revision and no hash.
func TestAlarms(t *testing.T) {
	n := newNode(t)
	n.apply(command.EncodePut(&pb.PutRequest{Key: []byte("k"), Value: []byte("v")}))
	hash, _, revision, err := n.Hash(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	alarm := func(action pb.AlarmRequest_AlarmAction, member uint64) *pb.AlarmResponse {
		t.Helper()
		results := n.apply(command.EncodeAlarm(&pb.AlarmRequest{
			Action: action, MemberID: member, Alarm: pb.AlarmType_NOSPACE,
		}))
		resp, err := command.DecodeAlarmResult(results[0])
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	expect := func(members ...uint64) {
		t.Helper()
		got := n.Alarms()
		if len(got) != len(members) {
			t.Fatalf("alarms %v, want those of %v", got, members)
		}
		for i, m := range members {
			if got[i].MemberID != m || got[i].Alarm != pb.AlarmType_NOSPACE {
				t.Fatalf("alarms %v, want those of %v", got, members)
			}
		}
	}
	const raise, disarm = pb.AlarmRequest_ACTIVATE, pb.AlarmRequest_DEACTIVATE
	if r := alarm(disarm, 7); len(r.Alarms) != 0 {
		t.Errorf("disarmed what was not raised: %v", r)
	}
	alarm(raise, 9)
	if r := alarm(raise, 7); len(r.Alarms) != 1 || r.Alarms[0].MemberID != 7 || r.Header.Revision != revision {
		t.Errorf("raised: %v", r)
	}
	alarm(raise, 7)
	expect(7, 9)
	if err := n.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = openNode(t, n.fs)
	expect(7, 9)
	if again, _, at, err := n.Hash(t.Context(), 0); err != nil || again != hash || at != revision {
		t.Errorf("hash %d at %d, was %d at %d: %v", again, at, hash, revision, err)
	}
	if r := alarm(disarm, 9); len(r.Alarms) != 1 || r.Alarms[0].MemberID != 9 {
		t.Errorf("disarmed: %v", r)
	}
	expect(7)
	n.apply(command.EncodePut(&pb.PutRequest{Key: []byte("k"), Value: []byte("w")})) // applying does not ask
	if n.Revision() != revision+1 {
		t.Error("a write that was agreed on must be applied, alarm or not")
	}
	alarm(disarm, 7)
	expect()
}

// TestEachTurnOfAnAlarmIsTold once, with its place in the history.
func TestEachTurnOfAnAlarmIsTold(t *testing.T) {
	n := newNode(t)
	var list []AlarmTurn
	n.options.OnAlarm = func(a AlarmTurn) { list = append(list, a) }
	var commands [][]byte
	for _, action := range []pb.AlarmRequest_AlarmAction{
		pb.AlarmRequest_ACTIVATE, pb.AlarmRequest_ACTIVATE, pb.AlarmRequest_DEACTIVATE, pb.AlarmRequest_ACTIVATE,
	} {
		commands = append(commands, command.EncodeAlarm(&pb.AlarmRequest{
			Action: action, MemberID: 7, Alarm: pb.AlarmType_NOSPACE,
		}))
	}
	n.apply(commands...)
	first := list[0].Position
	for i, want := range []AlarmTurn{
		{"NOSPACE", 7, true, list[0].Epoch, first}, {"NOSPACE", 7, false, list[0].Epoch, first + 2},
		{"NOSPACE", 7, true, list[0].Epoch, first + 3},
	} {
		if len(list) != 3 || list[i] != want || first == 0 {
			t.Fatalf("told %+v, want %+v as %d", list, want, i)
		}
	}
}
