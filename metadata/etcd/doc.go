// Package etcd keeps the cluster's metadata in etcd, and is the only code that knows etcd: the server that
// runs in the broker's process, the connection to one that runs apart, the keys, the transactions, and the
// watches that turn into images and ledgers. It decides nothing: metadata.Plan and ledger.Apply do.
package etcd
