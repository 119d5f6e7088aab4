package e2e

import (
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// connect returns a plain etcd client of the nodes at endpoints.
func connect(endpoints ...string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
}

// connectEach returns a client for each endpoint, and what closes them all.
func connectEach(endpoints []string) (clients []*clientv3.Client, closeAll func(), err error) {
	return connectAll(len(endpoints), func(i int) []string { return endpoints[i : i+1] })
}

// connectTimes returns a number of clients which all have the same endpoints, and what closes them all.
func connectTimes(count int, endpoints []string) (clients []*clientv3.Client, closeAll func(), err error) {
	return connectAll(count, func(int) []string { return endpoints })
}

func connectAll(count int, endpoints func(i int) []string) (clients []*clientv3.Client, closeAll func(), err error) {
	closeAll = func() {
		for _, c := range clients {
			c.Close()
		}
	}
	for i := range count {
		c, err := connect(endpoints(i)...)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		clients = append(clients, c)
	}
	return clients, closeAll, nil
}
