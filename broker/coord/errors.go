package coord

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/group"
)

// Refuse answers a whole group request with one error code, in the form that its version has for it. It returns nil
// for a message that is no group request.
func Refuse(req kmsg.Request, code int16) kmsg.Response {
	switch q := req.(type) {
	case *kmsg.JoinGroupRequest:
		r := kmsg.NewPtrJoinGroupResponse()
		r.Version, r.ErrorCode, r.MemberID, r.Generation = q.Version, code, q.MemberID, -1
		if q.Version < 7 {
			r.Protocol = kmsg.StringPtr("")
		}
		return r
	case *kmsg.SyncGroupRequest:
		r := kmsg.NewPtrSyncGroupResponse()
		r.Version, r.ErrorCode = q.Version, code
		return r
	case *kmsg.HeartbeatRequest:
		r := kmsg.NewPtrHeartbeatResponse()
		r.Version, r.ErrorCode = q.Version, code
		return r
	case *kmsg.LeaveGroupRequest:
		r := kmsg.NewPtrLeaveGroupResponse()
		r.Version, r.ErrorCode = q.Version, code
		return r
	case *kmsg.OffsetCommitRequest:
		return group.OffsetCommitAnswer(q, code)
	case *kmsg.OffsetFetchRequest:
		return group.OffsetFetchError(q, code)
	case *kmsg.OffsetDeleteRequest:
		r := kmsg.NewPtrOffsetDeleteResponse()
		r.Version, r.ErrorCode = q.Version, code
		return r
	case *kmsg.DescribeGroupsRequest:
		r := kmsg.NewPtrDescribeGroupsResponse()
		r.Version = q.Version
		for _, id := range q.Groups {
			g := kmsg.NewDescribeGroupsResponseGroup()
			g.Group, g.ErrorCode = id, code
			r.Groups = append(r.Groups, g)
		}
		return r
	case *kmsg.ListGroupsRequest:
		r := kmsg.NewPtrListGroupsResponse()
		r.Version, r.ErrorCode = q.Version, code
		return r
	case *kmsg.DeleteGroupsRequest:
		r := kmsg.NewPtrDeleteGroupsResponse()
		r.Version = q.Version
		for _, id := range q.Groups {
			g := kmsg.NewDeleteGroupsResponseGroup()
			g.Group, g.ErrorCode = id, code
			r.Groups = append(r.Groups, g)
		}
		return r
	}
	return nil
}

// codeOf gives the code of a log's error.
func codeOf(err error) int16 {
	var ke *kerr.Error
	if errors.As(err, &ke) {
		return ke.Code
	}
	return kerr.KafkaStorageError.Code
}
