package api

import "github.com/twmb/franz-go/pkg/kmsg"

// LeaveGroup 0-5.
//
// Deliberate gaps: none.
var leaveGroupHandler = handler{13, 0, 5, toGroup(func(r *kmsg.LeaveGroupRequest) string { return r.Group })}
