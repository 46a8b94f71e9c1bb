package api

import "github.com/twmb/franz-go/pkg/kmsg"

// SyncGroup 0-5. The answer waits for the leader's assignment to be committed.
//
// Deliberate gaps: none.
var syncGroupHandler = handler{14, 0, 5, toGroup(func(r *kmsg.SyncGroupRequest) string { return r.Group })}
