// Package group is the coordinator of classic consumer groups (KIP-62, with static members of KIP-345, the
// required member id of KIP-394, cooperative rebalancing of KIP-429, the protocol checks of KIP-559 and the
// skipped assignment of KIP-814) as a state machine without goroutine, lock, clock or I/O.
//
// A [Shard] holds the groups of one partition of __consumer_offsets. A request or a fired timer makes it decide:
// it answers with an [Outcome] of records to append, replies to send now and timers to set. The shell around it
// (the coordinator's runtime) obeys this contract, on one goroutine a shard:
//
//	out := shard.JoinGroup(now, token, client, request)
//	send out.Replies; set out.Timers
//	if out.Write != 0 {
//	    append out.Records as one batch (there may be none: then the write waits for all earlier appends)
//	    appended:           shard.Replay(each record), before anything else is asked of the shard
//	    later, committed:   shard.Done(now, out.Write, 0)     → an Outcome of its own
//	    failed, timed out:  shard.Done(now, out.Write, code)  → an Outcome of its own; no Replay if not appended
//	}
//
// # Two kinds of state
//
// Durable state (committed offsets, the last stored metadata of each group) has one writer, [Shard.Replay], on the
// live path as at loading. Live state (members and what they wait for, rebalances in progress, timers) is what
// Kafka keeps in memory only: it is made from the durable state by [Shard.Start] and lost with the shard. A group
// becomes Stable, and its members learn their assignment, only when the record that says so is committed; when
// that record fails, its members are told to try again and the group rebalances.
//
// # What holds
//
//   - A token given to the shard is answered exactly once, by [Shard.Unload] if by nothing else.
//   - A group's leader is one of its members; members of one generation see one protocol, one leader, one
//     assignment; an assignment is shown only once it is committed.
//   - While a group is Stable and no write is under way, its stored metadata says what its live state says.
//   - Nothing that a caller sends makes it panic.
//
// # Not here
//
// Appending, replication, loading and COORDINATOR_LOAD_IN_PROGRESS are the runtime's. Which topics exist, and the
// translation between topic ids and names, are the API's: requests come with names filled in, and with ids where
// they are known. Transactional offset commits and the protocol of KIP-848 are not served; their records are
// reported by [Shard.Replay] as [ErrUnknownRecord] and left alone.
package group
