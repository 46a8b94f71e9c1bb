package wire

// What requests and answers keep of their memory for the next ones. A request that names more topics or partitions than that
// is none that comes often, and none that memory should be held for.
const (
	keepTopics     = 1 << 10
	KeepPartitions = 4 << 10 // of all topics together
)

// Recycle bounds what topics keep of their memory, that of earlier and longer uses included: it gives what is to be used
// again. partitions are a topic's.
func Recycle[T, P any](topics []T, partitions func(*T) *[]P) []T {
	if cap(topics) > keepTopics {
		return nil
	}
	all, room := topics[:cap(topics)], KeepPartitions
	for i := range all {
		ps := partitions(&all[i])
		if room -= cap(*ps); room < 0 {
			room += cap(*ps)
			*ps = nil
		}
	}
	return topics
}
