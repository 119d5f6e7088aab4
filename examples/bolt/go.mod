module github.com/mimir-kv/mimir/examples/bolt

go 1.26.0

replace github.com/mimir-kv/mimir => ../../

require (
	github.com/mimir-kv/mimir v0.0.0
	go.etcd.io/bbolt v1.5.0
)

require (
	github.com/klauspost/compress v1.20.3 // indirect
	go.etcd.io/raft/v3 v3.7.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)
