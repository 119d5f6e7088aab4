# The commands of README.md by name, and what a change is checked with before it is merged.

.PHONY: build dev test quick planted pages fleets compat bench release site ci

# The version that `mimir version` says; empty: the commit.
VERSION ?=

build:
	go build -ldflags "-X main.release=$(VERSION)" -o mimir ./cmd/mimir

dev:
	go run ./cmd/mimir dev

test:
	go run ./check

quick:
	go run ./check -quick

# Builds the tree with one mistake at a time, which its tests have to notice.
planted:
	CGO_ENABLED=0 go test -count=1 -timeout 60m -run '^Test(PlantedBugs|PlantedMistakes|Mistakes|MistakesOfFiles)Are(Caught|Seen)$$' ./sim ./replication/internal/succession ./replication/storagetest

# Does what the pages say, as it stands there.
pages:
	CGO_ENABLED=0 go test -count=1 -timeout 60m -run '^Test(TheRunbooksRun|EveryBlockIsRun|TheFirstDayAsWritten|TheDemoIsPlayed)$$' ./cmd/mimir

# Fleets of processes, each through a story of a minute.
fleets:
	CGO_ENABLED=0 go test -count=1 -timeout 60m -run '^Test(FirstLight|FiveRegions|BootstrapUnderFaults|APartialRegion|WritesWaitForTheRegionsThatWereAskedFor|EverythingIsDeletedAndADelayedRegionTakesOver)$$' ./e2e

compat:
	cd compat && go test -timeout 15m ./...
	cd compat/peers && go test -timeout 15m ./...

# Beside etcd and an echo server: docs/benchmarks.md.
bench:
	go run ./bench/all

# All that Mimir is installed from, into dist: docs/packages.md.
release:
	cd deploy/packages && go run ./release -version "$(VERSION)"

# The documentation as a site, into dist/site.
site:
	cd docs/site && go run . -to ../../dist/site

ci:
	.ci/run
