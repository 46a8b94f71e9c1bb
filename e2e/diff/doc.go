// Package diff sends the same programs of calls to Apache Kafka and to firn and compares the answers field by field.
//
// A program is drawn from a seed: administrative, data and group calls, valid and not, over several connections and in
// versions drawn from what both brokers serve. Its requests hold placeholders for what each broker gives its own value
// (see names_test.go), and answers are normalised back to them before they are compared. Every difference that is meant
// stands in differences.txt with its reason; one that does not is a failure, printed as a script that was shrunk to what
// still differs. An entry that nothing matched in a full run is a failure too, and so are more than a few programs that
// differ once and then, when little else runs, do not.
//
//	go test ./e2e/diff -seeds=17,23        two seeds
//	go test ./e2e/diff -seeds=1-2000       all of a full run, as `make diff`
package diff
