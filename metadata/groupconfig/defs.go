package groupconfig

import (
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/firnlog/firn/metadata/brokerconfig"
	"github.com/firnlog/firn/metadata/configdef"
)

var defs = all()

func all() []Def {
	ds := slices.Concat(
		without("the consumer group protocol of KIP-848 does not exist in firn yet",
			bounded("consumer.session.timeout.ms", 1, "Session timeout of the group's members."),
			bounded("consumer.heartbeat.interval.ms", 1, "Heartbeat interval of the group's members."),
			bounded("consumer.assignment.interval.ms", 0, "The least time between two assignments of the group.")),
		without("share groups do not exist in firn yet",
			bounded("share.session.timeout.ms", 1, "Session timeout of the group's members."),
			bounded("share.heartbeat.interval.ms", 1, "Heartbeat interval of the group's members."),
			bounded("share.assignment.interval.ms", 0, "The least time between two assignments of the group."),
			bounded("share.record.lock.duration.ms", 1000, "How long a record is kept for the member that it was handed to."),
			bounded("share.delivery.count.limit", 2, "How often a record is handed out before it is given up."),
			bounded("share.partition.max.record.locks", 100, "The most records of a partition that may be out with members."),
			word("share.auto.offset.reset", "latest", configdef.Rule{Allowed: "latest, earliest or by_duration:<ISO 8601 duration>", Check: isReset},
				"Where the group begins to read a partition."),
			word("share.isolation.level", "read_uncommitted", configdef.OneOf("read_committed", "read_uncommitted"),
				"Whether the group sees records of transactions that are open or were aborted."),
			Def{Name: "share.renew.acknowledge.enable", Type: configdef.Boolean, Default: "true", Allowed: "true or false",
				Doc: "Let members ask for more time with a record."}),
		without("the streams group protocol does not exist in firn yet; Kafka Streams uses the classic one",
			bounded("streams.session.timeout.ms", 1, "Session timeout of the group's members."),
			bounded("streams.heartbeat.interval.ms", 1, "Heartbeat interval of the group's members."),
			bounded("streams.assignment.interval.ms", 0, "The least time between two assignments of the group."),
			bounded("streams.num.standby.replicas", 0, "Standby replicas of each task."),
			bounded("streams.initial.rebalance.delay.ms", 0, "How long the first rebalance of an empty group waits for more members.")),
	)
	slices.SortFunc(ds, func(a, b Def) int { return strings.Compare(a.Name, b.Name) })
	return ds
}

// bounded is a number whose default is the broker's, within the bounds that the broker gives, if it has any.
func bounded(name string, lo int64, doc string) Def {
	d := Def{Name: name, Type: configdef.Int, Broker: "group." + name, Doc: doc}
	if b, ok := brokerconfig.Lookup(d.Broker); ok && b.Default != nil {
		d.Default = *b.Default
	}
	kind, what, _ := strings.Cut(name, ".")
	if n := "group." + kind + ".min." + what; isBroker(n) {
		d.lo = n
	}
	n := "group." + kind + ".max." + what
	if name == "streams.num.standby.replicas" {
		n = "group.streams.max.standby.replicas"
	}
	if isBroker(n) {
		d.hi = n
	}
	r := configdef.Range(d.Type, lo, math.MaxInt32)
	d.Allowed, d.check = r.Allowed, r.Check
	return d
}

func isBroker(name string) bool {
	_, ok := brokerconfig.Lookup(name)
	return ok
}

func word(name, dflt string, r configdef.Rule, doc string) Def {
	return Def{Name: name, Type: configdef.String, Default: dflt, Allowed: r.Allowed, Doc: doc, check: r.Check}
}

var duration = regexp.MustCompile(`^by_duration:P(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d{1,9})?S)?)?$`)

// isReset reports whether a value says where to begin (ShareGroupAutoOffsetResetStrategy).
func isReset(v configdef.Value) bool {
	switch s := v.Text; s {
	case "latest", "earliest":
		return true
	default:
		return duration.MatchString(s) && !strings.HasSuffix(s, "P") && !strings.HasSuffix(s, "T")
	}
}

func without(why string, ds ...Def) []Def {
	for i := range ds {
		ds[i].NoEffect = why
	}
	return ds
}
