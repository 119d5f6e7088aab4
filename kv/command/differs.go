package command

import pb "go.etcd.io/etcd/api/v3/etcdserverpb"

// Kinds of alarms about a member that was compared with others, beside etcd's CORRUPT, which stops all writes of all.
// They are in logs: the numbers never change. Clients are shown both as CORRUPT.
const (
	// AlarmDiffers says that a member holds something else than its region: it gives no copies, answers no reads, and
	// leads only while no other can.
	AlarmDiffers pb.AlarmType = 1001
	// AlarmUnsure says that a member holds something else than others, and that it is not known who is right.
	AlarmUnsure pb.AlarmType = 1002
)
