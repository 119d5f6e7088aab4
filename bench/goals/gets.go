package goals

// What gets are to do.
const (
	getOfEtcd = 2.0 // of the requests a second of etcd
	getOfEcho = 0.7 // of those of echo
)

// JudgeGets holds reads of one key to etcd, and to what the messages take.
func JudgeGets(loads []Load) Goal {
	g := Goal{Number: 4, Name: "Gets"}
	for _, of := range []struct {
		operation string
		clients   int
	}{
		{"get, linearizable", oneClient}, {"get, linearizable", someClients}, {"get, serializable", someClients},
	} {
		l := find(loads, of.operation, of.clients)
		g.Figures = append(g.Figures,
			l.rate(l.Etcd, "etcd", atLeast(getOfEtcd)), l.rate(l.Echo, "echo", atLeast(getOfEcho)))
	}
	return g
}
