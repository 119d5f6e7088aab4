// Command check is the test command of this tree: go test over everything in this module.
//
//	go run ./check                    all of it
//	go run ./check -quick             all but the longest packages, which are named in longest.go
//	go run ./check ./kv -run Watch    what go test takes, packages among it
//
// With the race detector go test runs twice: packages in which nothing is concurrent are left to a run without it, and
// so are most seeds of those that repeat much (longest.go). Two packages more than there are processors are tested at a
// time: several wait for processes and elections longer than they work.
//
// A run of everything ends with some hundred seeds of sim, whose kinds of faults it shows in a table.
//
// It promises to need Go and nothing else. The race detector needs a C compiler that works; where there is none, the
// tests run without it, and check says so, or fails if -require-race was given. Exit status: 0 all passed, 1 something
// failed, 2 wrong usage.
//
// It leaves the modules of their own and staticcheck to .ci/run, because both need more than this module's own
// dependencies, and go vet of everything too, which -quick and a run of named packages begin with; tests of tests,
// which run others with mistakes in the code, to make planted; what pages say, done as it stands there, to make pages;
// and the stories of fleets of processes to make fleets.
package main
