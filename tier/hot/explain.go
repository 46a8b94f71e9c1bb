package hot

// ExplainRetention says in a sentence why the segment that holds offset is still there, by the rules of PlanRetention:
// which limit it waits for and when that is reached, or what holds it although it is due. "" when no segment holds it.
func ExplainRetention(in RetentionInput, offset int64) string {
	w := walkRetention(in)
	below := ""
	for i, s := range in.Segments {
		f := w.next(i)
		here := offset >= s.Base && offset < s.Next
		switch {
		case here && !f.goes():
			return w.say(f, s)
		case here && below == "":
			return w.say(f, s) + " They go with the next round."
		case here:
			return w.say(f, s) + " Segments go in order, and below them " + below
		case !f.goes() && below == "":
			below = w.say(f, s)
		}
	}
	return ""
}
