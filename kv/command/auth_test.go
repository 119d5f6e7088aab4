package command

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

var alice = Identity{User: "alice", Revision: 300}

func opPutTo(key string, lease int64) *pb.RequestOp {
	op := opPut(key)
	op.GetRequestPut().Lease = lease
	return op
}

// TestEncodingsOfUsers holds C1 for what is about users and roles, and for envelopes.
func TestEncodingsOfUsers(t *testing.T) {
	perm := &authpb.Permission{PermType: authpb.Permission_WRITE, Key: []byte("k"), RangeEnd: []byte{0}}
	none := &authpb.UserAddOptions{NoPassword: true}
	for _, c := range []struct {
		request proto.Message
		want    string
	}{
		{&pb.AuthDisableRequest{}, "0a"},
		{&pb.AuthUserAddRequest{Name: "u", Options: none, HashedPassword: "aA=="}, "0b0a01751a020801220461413d3d"},
		{&pb.AuthUserDeleteRequest{Name: "u"}, "0c0a0175"},
		{&pb.AuthUserChangePasswordRequest{Name: "u", HashedPassword: "aA=="}, "0d0a01751a0461413d3d"},
		{&pb.AuthUserGrantRoleRequest{User: "u", Role: "r"}, "0e0a0175120172"},
		{&pb.AuthUserRevokeRoleRequest{Name: "u", Role: "r"}, "0f0a0175120172"},
		{&pb.AuthRoleAddRequest{Name: "r"}, "100a0172"},
		{&pb.AuthRoleDeleteRequest{Role: "r"}, "110a0172"},
		{&pb.AuthRoleGrantPermissionRequest{Name: "r", Perm: perm}, "120a01721208080112016b1a0100"},
		{&pb.AuthRoleRevokePermissionRequest{Role: "r", Key: []byte("k")}, "130a017212016b"},
	} {
		p, err := EncodeAuth(c.request)
		if got := hex.EncodeToString(p); err != nil || got != c.want {
			t.Errorf("%T is %s, %v, want %s", c.request, got, err, c.want)
		}
		var r Request
		if err := r.Decode(p); err != nil || !proto.Equal(r.Auth, c.request) || !NeedsUsers(p) || r.IsPlainPut() {
			t.Errorf("%T became %v, %v", c.request, r.Auth, err)
		}
	}
	key := strings.Repeat("k", TokenKeyBytes)
	enable := EncodeAuthEnable(AuthEnable{TokenKey: []byte(key)})
	if got := string(enable); got != "\x09\xca\x3e\x20"+key {
		t.Errorf("enable is %x", got)
	}
	var r Request
	if err := r.Decode(enable); err != nil || string(r.AuthEnable.TokenKey) != key || !NeedsUsers(enable) {
		t.Errorf("enable became %+v, %v", r.AuthEnable, err)
	}
	renew := EncodeAuthEnable(AuthEnable{TokenKey: []byte(key), Renews: true})
	if got := string(renew); got != "\x16\xca\x3e\x20"+key {
		t.Errorf("renew is %x", got)
	}
	if err := r.Decode(renew); err != nil || string(r.AuthEnable.TokenKey) != key || !r.AuthEnable.Renews {
		t.Errorf("renew became %+v, %v", r.AuthEnable, err)
	}
	put := EncodePut(put("k", "v"))
	standing, present, certified := alice, alice, Identity{User: "bob", Revision: 1, Present: true}
	standing.Basis = Basis([]byte("sixteen bytes of"))
	present.Basis, present.Present = standing.Basis, true
	basis := hex.EncodeToString(standing.Basis[:])
	for _, c := range []struct {
		command []byte
		want    string
		id      Identity
		own     bool
	}{
		{EncodeAs(alice, put), "0805616c696365ac02010a016b120176", alice, false},
		{EncodeAs(Identity{}, put), "010a016b120176", Identity{}, false},
		{EncodeOwn(put), "080000010a016b120176", Identity{}, true},
		{EncodeAs(standing, put), "1505616c696365ac0202" + basis + "010a016b120176", standing, false},
		{EncodeAs(present, put), "1505616c696365ac0203" + basis + "010a016b120176", present, false},
		{EncodeAs(certified, put), "1503626f620101010a016b120176", certified, false},
		{EncodeAs(present.Plain(), put), "0805616c696365ac02010a016b120176", alice, false},
	} {
		err := r.Decode(c.command)
		if got := hex.EncodeToString(c.command); err != nil || got != c.want || r.Identity != c.id || r.Own != c.own ||
			string(r.Put.Key) != "k" || !r.IsPlainPut() || NeedsUsers(c.command) != (c.command[0] != 1) ||
			NeedsBasis(c.command) != c.id.Based() || c.id.Based() != (c.command[0] == 0x15) {
			t.Errorf("%s, want %s, became %+v, %t, %v", got, c.want, r.Identity, r.Own, err)
		}
	}
	for _, c := range []struct {
		command []byte
		needs   bool
	}{
		{enable, false}, {EncodeAs(alice, enable), false}, {EncodeOwn(enable), false}, {nil, false}, {[]byte{8}, false},
		{renew, true}, {EncodeAs(alice, renew), true}, {EncodeOwn(renew), true}, {EncodeAs(certified, enable), true},
		{EncodeFollowed(7, EncodeOpening()), false},
	} {
		if NeedsBasis(c.command) != c.needs {
			t.Errorf("%x: %t", c.command, !c.needs)
		}
	}
}

// What is no command about users is refused where it is encoded, or decoded.
func TestMalformedCommandsOfUsers(t *testing.T) {
	for _, r := range []proto.Message{
		&pb.PutRequest{}, &pb.AuthEnableRequest{}, &pb.AuthUserAddRequest{Name: "u", Password: "p"},
		&pb.AuthUserChangePasswordRequest{Name: "u", Password: "p"}, &pb.AuthUserDeleteRequest{Name: "\xff"},
	} {
		if _, err := EncodeAuth(r); !errors.Is(err, ErrMalformed) {
			t.Errorf("%T: %v", r, err)
		}
	}
	put := string(EncodePut(put("k", "v")))
	for _, p := range []string{
		"\x08", "\x08\x01", "\x08\x02a\x01", "\x08\x01a\x01", "\x08\x01a", "\x08\x01a\x80", "\x08\x00\x00",
		"\x08\x01a\x01\x08\x01b\x01" + put, "\x09", "\x09\xca\x3e\x01k", "\x09\xca\x3e\x20k",
		"\x0c\x0a\x01\xff", "\x14", "\x16", "\x16\xca\x3e\x01k",
		"\x15", "\x15\x01a\x01", "\x15\x01a\x01\x01", "\x15\x01a\x01\x00" + put, "\x15\x01a\x01\x04" + put,
		"\x15\x00\x01\x01" + put, "\x15\x01a\x01\x02sixteen bytes o", "\x15\x01a\x01\x02sixteen bytes of",
		"\x15\x01a\x01\x02" + strings.Repeat("\x00", 16) + put, "\x15\x01a\x01\x01\x15\x01b\x01\x01" + put,
		"\x08\x01a\x01\x15\x01b\x01\x01" + put, "\x15\x01a\x01\x01\x08\x01b\x01" + put,
	} {
		if _, err := Decode([]byte(p)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", p, err)
		}
	}
}

// Whoever reads a command sees no password, no hash and no key of it; an expiry is of the server, whoever it is said
// to be of.
func TestWhatIsShownOfCommandsOfUsers(t *testing.T) {
	add, err := EncodeAuth(&pb.AuthUserAddRequest{Name: "u", HashedPassword: "hash", Options: &authpb.UserAddOptions{}})
	if err != nil {
		t.Fatal(err)
	}
	change, err := EncodeAuth(&pb.AuthUserChangePasswordRequest{Name: "u", HashedPassword: "hash"})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range [][]byte{add, EncodeAs(alice, change)} {
		shown, err := Decode(p)
		if err != nil || strings.Contains(shown.(interface{ String() string }).String(), "hash") {
			t.Errorf("%v, %v", shown, err)
		}
	}
	shown, err := Decode(EncodeAuthEnable(AuthEnable{TokenKey: make([]byte, TokenKeyBytes)}))
	if err != nil || !proto.Equal(shown, &pb.AuthEnableRequest{}) {
		t.Errorf("%v, %v", shown, err)
	}
	var r Request
	expiry := EncodeLeaseExpiry(7, Alone)
	for own, p := range map[bool][]byte{true: expiry, false: EncodeAs(alice, expiry)} {
		if err := r.Decode(p); err != nil || r.Own != own {
			t.Errorf("%x: %t, %v", p, r.Own, err)
		}
	}
	if err := r.Decode(EncodeLeaseExpiryPart(7, [][]byte{[]byte("k")}, Alone)); err != nil || !r.Own {
		t.Errorf("a part of an expiry: %v", err)
	}
	if err := r.Decode(EncodeTxn(&pb.TxnRequest{})); err != nil || r.Own {
		t.Errorf("a transaction: %v", err)
	}
}
