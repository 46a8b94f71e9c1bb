package diff

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// dropped are the fields that say nothing about what a broker does: they tell of the machine or of this very broker, or
// are sentences for people (beside no error, Kafka's is null, empty or NONE, as it happens).
var dropped = map[string]bool{
	"ThrottleMillis": true, "Port": true, "ClusterID": true, "Dir": true, "TotalBytes": true, "UsableBytes": true, "ErrorMessage": true,
}

// normal is an answer as a tree that is the same whatever values the broker gave to ids.
func (n *names) normal(s step, resp kmsg.Response) any {
	t := n.normalTree(treeOf(resp)).(map[string]any)
	switch q := s.req.(type) {
	case *kmsg.ListGroupsRequest:
		t["Groups"] = n.own(t["Groups"])
	case *kmsg.MetadataRequest:
		if len(q.Topics) == 0 {
			t["Topics"] = n.own(t["Topics"])
		}
	case *kmsg.DescribeLogDirsRequest:
		for _, d := range asList(t["Dirs"]) {
			if q.Topics == nil {
				d.(map[string]any)["Topics"] = n.own(d.(map[string]any)["Topics"])
			}
		}
	case *kmsg.ProduceRequest: // where a log starts is another thing to tell beside an error
		for _, topic := range asList(t["Topics"]) {
			for _, p := range asList(topic.(map[string]any)["Partitions"]) {
				if p := p.(map[string]any); p["ErrorCode"] != int64(0) {
					p["LogStartOffsetOfRefused"] = p["LogStartOffset"]
					delete(p, "LogStartOffset")
				}
			}
		}
	case *kmsg.JoinGroupRequest: // who leads after another is a matter of its own
		if n.elected(q.Group, resp.(*kmsg.JoinGroupResponse)) {
			for _, f := range []string{"LeaderID", "Members"} {
				t["Elected"+f] = t[f]
				delete(t, f)
			}
		}
	case *kmsg.DescribeConfigsRequest:
		for _, r := range asList(t["Resources"]) {
			r := r.(map[string]any)
			r["Configs"] = slices.DeleteFunc(asList(r["Configs"]), func(c any) bool {
				name := c.(map[string]any)["Name"].(string)
				return shared[name] != nil && name != n.sharedOwn
			})
		}
	case *kmsg.ListConfigResourcesRequest:
		t["ConfigResources"] = n.own(t["ConfigResources"])
	case *kmsg.ApiVersionsRequest: // what is served is tested elsewhere
		t["ApiKeys"] = len(asList(t["ApiKeys"])) > 0
		for _, f := range []string{"SupportedFeatures", "FinalizedFeatures", "FinalizedFeaturesEpoch"} {
			delete(t, f)
		}
	}
	return t
}

// elected tells whether the leader in an answer is not the one of the generation before.
func (n *names) elected(group string, r *kmsg.JoinGroupResponse) bool {
	before, known := n.leaders[group][r.Generation-1]
	return known && r.ErrorCode == 0 && before != r.LeaderID
}

// isLate tells whether a time is not from a program's records but from a broker's clock.
func isLate(v any) bool {
	ms, ok := v.(int64)
	return ok && ms > firstTime+1_000_000_000
}

// own are the elements of a list that the program made; other programs run at the same time.
func (n *names) own(list any) any {
	out := []any{}
	for _, e := range asList(list) {
		if strings.Contains(nameOf(e), "~") {
			out = append(out, e)
		}
	}
	return out
}

func (n *names) normalTree(t any) any {
	switch t := t.(type) {
	case map[string]any:
		for k, v := range t {
			switch {
			case dropped[k]:
				delete(t, k)
			case k == "ProducerID":
				if back, ok := n.back[show(v)]; ok {
					t[k] = back
				}
			case isLate(v) && strings.Contains(k, "Time"):
				t[k] = "now"
			case k == "Documentation" && v != nil:
				t[k] = "text"
			case k == "ConfigSynonyms": // in order of precedence
				for _, e := range asList(v) {
					n.normalTree(e)
				}
			default:
				t[k] = n.normalTree(v)
			}
		}
	case []any:
		for i := range t {
			t[i] = n.normalTree(t[i])
		}
		return sorted(t)
	case string:
		return n.normalString(t)
	}
	return t
}

func (n *names) normalString(s string) string {
	if back, ok := n.back[s]; ok {
		return back
	}
	s = uuid.ReplaceAllStringFunc(s, func(id string) string {
		if back, ok := n.back[id]; ok {
			return back
		}
		return "<uuid>"
	})
	return strings.ReplaceAll(s, n.prefix, "~")
}

func asList(t any) []any {
	l, _ := t.([]any)
	return l
}
