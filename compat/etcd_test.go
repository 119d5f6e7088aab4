package compat

import (
	"net/url"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"golang.org/x/crypto/bcrypt"
)

// startEtcd starts an empty etcd of one member with the default configuration but for the tokens, and returns the
// address of its clients.
func startEtcd(t testing.TB, tokens string) string {
	t.Helper()
	return startEtcdIn(t, tokens, "127.0.0.1:0", t.TempDir())
}

// startEtcdAt is startEtcd at an address for clients. etcd's gateway wants to know its port before it is opened.
func startEtcdAt(t testing.TB, tokens, address string) string {
	t.Helper()
	return startEtcdIn(t, tokens, address, t.TempDir())
}

// startEtcdIn is startEtcdAt with a data directory, which may have been restored.
func startEtcdIn(t testing.TB, tokens, address, dir string) string {
	t.Helper()
	anyPort, clients := url.URL{Scheme: "http", Host: "127.0.0.1:0"}, url.URL{Scheme: "http", Host: address}
	c := embed.NewConfig()
	c.Dir = dir
	c.LogLevel = "panic"
	c.AuthToken, c.BcryptCost = tokens, uint(bcrypt.MinCost)
	c.UnsafeNoFsync = true
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{clients}, []url.URL{clients}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{anyPort}, []url.URL{anyPort}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	e, err := embed.StartEtcd(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		t.Fatal(err)
	case <-time.After(2 * time.Minute):
		t.Fatal("etcd is not ready after 2 minutes")
	}
	return e.Clients[0].Addr().String()
}
