package etcdapi

import (
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// doers are the methods that do something, and those of which no answer is large, by their names.
const doers = ` Put DeleteRange Compact LeaseGrant LeaseRevoke MemberAdd MemberRemove MemberUpdate MemberPromote
 Defragment MoveLeader Downgrade AuthEnable AuthDisable Authenticate UserAdd UserDelete UserChangePassword
 UserGrantRole UserRevokeRole RoleAdd RoleDelete RoleGrantPermission RoleRevokePermission Lock Unlock Campaign
 Proclaim Resign Check List `

// Of every method it is known whether its answer may be refused when it is there: of one that is in neither list nobody
// has thought.
func TestWhichMethodsOnlyRead(t *testing.T) {
	s := grpc.NewServer()
	(&API{}).Register(s)
	seen := 0
	for name := range s.GetServiceInfo() {
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			continue // of no protobuf
		}
		methods := found.(protoreflect.ServiceDescriptor).Methods()
		for i := range methods.Len() {
			m := methods.Get(i)
			if m.IsStreamingClient() || m.IsStreamingServer() {
				continue
			}
			kind, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
			if err != nil {
				t.Fatal(err)
			}
			seen++
			does := strings.Contains(strings.ReplaceAll(doers, "\n", " "), " "+string(m.Name())+" ")
			if reads := onlyReads(kind.New().Interface()); reads == does {
				t.Errorf("%s: only reads %t, does something %t", m.FullName(), reads, does)
			}
		}
	}
	if seen < 30 {
		t.Errorf("%d methods were looked at", seen)
	}
}
