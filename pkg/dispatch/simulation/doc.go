// Package simulation runs whole groups in virtual time: several members of the real
// runtime on the real store, a broker and a network in memory, and faults by a
// schedule that a seed draws. What is promised is checked while it runs and at the
// end.
//
//	go test ./pkg/dispatch/simulation                             a few seeds
//	SPINE_SIM_SEEDS=500 go test ./pkg/dispatch/simulation         more
//	SPINE_SIM_SEED=17 go test ./pkg/dispatch/simulation           one
//	SPINE_SIM_SCHEDULE=/tmp/s.txt go test ./pkg/dispatch/simulation   a schedule as it was printed
//	SPINE_SIM_MISTAKES=1 go test -run Mistakes ./pkg/dispatch/simulation   is every planted mistake caught?
//
// The schedule is what a seed decides. The order in which goroutines run at one
// moment is Go's, so that a seed that fails may have to be run a few times; the
// trace of the run that failed is kept.
//
// Time stands still while a goroutine waits for a lock. The Kafka client holds locks
// while it waits for the broker, and has a build tag that turns them into what virtual
// time understands: synctests. Without it the test starts the go tool with it.
package simulation
