# A thin list of the commands in README.md.

.PHONY: build test compat ci

build:
	go build -o mimir ./cmd/mimir

test:
	go test -race -timeout 15m ./...

compat:
	cd compat && go test -timeout 15m ./...

ci:
	.ci/run
