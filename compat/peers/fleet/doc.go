// Package fleet makes fleets of real Mimir processes for the suites of peers, which know nothing but etcd.
//
// It promises that the processes are of this tree, built once for a run of tests ([Main]); that they have nothing but
// settings that any fleet could have; and that none outlives the test that started them. What happens to them is the
// business of the suites.
package fleet
