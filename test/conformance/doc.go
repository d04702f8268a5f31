// Package conformance maps the requirements of Kubernetes' conformance suite to the tests of this
// project that check them.
//
// SIG.tsv has a row for each requirement that is checked: the requirement's test name, the package's
// folder, and the Go test, with the names of subtests after it as the source has them. Any package's
// test counts if it really checks the behaviour. SIG.missing lists, one to a line, the requirements
// that have no test yet. Every requirement of a SIG that has such files is in one of the two;
// testdata/required.tsv has the names of all (data of the Kubernetes project, v1.36, Apache-2.0). A
// name that is required twice has two rows.
//
// What no other package checks is in inprocess, whose cluster is this process, and in test/e2e, where
// containers matter. This package has the tables and the test of them alone, so that it is quick.
//
// Difference from Kubernetes: its suite is neither imported nor copied. The tests here are written
// from the descriptions of the requirements.
package conformance
