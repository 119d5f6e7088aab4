# The commands of README.md by name, and what a change is checked with before it is merged.

.PHONY: build dev test quick compat ci

build:
	go build -o mimir ./cmd/mimir

dev:
	go run ./cmd/mimir dev

test:
	go run ./check

quick:
	go run ./check -quick

compat:
	cd compat && go test -timeout 15m ./...

ci:
	.ci/run
