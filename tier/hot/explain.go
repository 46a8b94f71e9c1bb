package hot

import "fmt"

// ExplainRetention says in a sentence why the segment that holds offset is still there, by the rules of PlanRetention:
// which limit it waits for and when that is reached, or what holds it although it is due. "" when no segment holds it.
func ExplainRetention(in RetentionInput, offset int64) string {
	age, size := limits(in.Config)
	var total int64
	for _, s := range in.Segments {
		total += s.Bytes
	}
	below := ""
	for i, s := range in.Segments {
		due, not := segmentDue(&in, s, total, age, size)
		var stays string
		switch active := i == len(in.Segments)-1; {
		case due == "":
			stays = not
		case active && (s.Bytes == 0 || !expired(s, age.value, in.Now)):
			stays = fmt.Sprintf("offsets from %d on are in the active segment, which goes only by age: %s.", s.Base, whenDue(s, age, in.Now))
		default:
			stays = held(&in, s)
		}
		if offset >= s.Base && offset < s.Next {
			switch {
			case stays == "" && below == "":
				return due + " They go with the next round."
			case stays == "":
				return due + " Segments go in order, and below them " + below
			}
			return stays
		}
		if stays != "" && below == "" {
			below = stays
		}
		total -= s.Bytes
	}
	return ""
}
