package api

import "github.com/twmb/franz-go/pkg/kmsg"

// Heartbeat 0-4.
//
// Deliberate gaps: none.
var heartbeatHandler = handler{12, 0, 4, toGroup(func(r *kmsg.HeartbeatRequest) string { return r.Group })}
