package api

import "github.com/twmb/franz-go/pkg/kmsg"

// JoinGroup 0-9. The answer waits for the group's rebalance.
//
// Deliberate gaps: none.
var joinGroupHandler = handler{11, 0, 9, toGroup(func(r *kmsg.JoinGroupRequest) string { return r.Group })}
