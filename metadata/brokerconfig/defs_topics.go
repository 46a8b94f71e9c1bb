package brokerconfig

func creationDefs() []Def {
	return []Def{
		def(Boolean, "auto.create.topics.enable", "true", ReadOnly, anything,
			"Make a topic when a client asks for one that does not exist."),
		def(Boolean, "delete.topic.enable", "true", ReadOnly, anything,
			"Let clients delete topics. With false they are told that deletion is switched off."),
		def(Int, "num.partitions", "1", ReadOnly, from(1),
			"Partitions of a topic that is made without saying how many."),
		def(Int, "default.replication.factor", "1", ReadOnly, from(1),
			"Replicas of a topic that is made without saying how many."),
		kafka("300000", def(Long, "log.retention.check.interval.ms", "10000", ReadOnly, from(1),
			"Time between two looks for segments that retention lets go and archived data that may leave the disk.")),
		def(Int, "producer.id.expiration.ms", "86400000", ClusterWide, from(1),
			"How long an idempotent producer is remembered after its last batch. Later retries of it are no longer recognised."),
		def(Int, "log.retention.minutes", null, ReadOnly, from(-1),
			"Default of retention.ms for all topics, in minutes. log.retention.ms goes before it."),
		kafka("168", def(Int, "log.retention.hours", null, ReadOnly, from(-1),
			"Default of retention.ms for all topics, in hours. log.retention.ms and log.retention.minutes go before it.")),
		def(Int, "log.roll.hours", "168", ReadOnly, from(1),
			"Default of segment.ms for all topics, in hours. log.roll.ms goes before it."),
		def(Int, "log.roll.jitter.hours", "0", ReadOnly, from(0),
			"Default of segment.jitter.ms for all topics, in hours. log.roll.jitter.ms goes before it."),
		def(Long, "log.flush.scheduler.interval.ms", maxLong, ReadOnly, from(0),
			"Default of flush.ms for all topics where log.flush.interval.ms is not set."),
	}
}

func cleanerDefs() []Def {
	return []Def{
		def(Boolean, "log.cleaner.enable", "true", ReadOnly, anything,
			"Run the cleaner. Without it compacted topics grow, the offsets of groups among them."),
		def(Int, "log.cleaner.threads", "1", ClusterWide, from(0),
			"How many logs are compacted at once. 0 pauses the cleaner."),
		def(Long, "log.cleaner.dedupe.buffer.size", "134217728", ClusterWide, from(1<<20),
			"Bytes of memory for the keys that the cleaner compares, all threads together."),
		def(Int, "log.cleaner.io.buffer.size", "524288", ClusterWide, from(0),
			"Bytes of memory that the cleaner reads and writes through, all threads together."),
		def(Double, "log.cleaner.io.buffer.load.factor", "0.9", ClusterWide, share,
			"Share of the dedupe buffer that may be filled: more cleans more at once and finds keys more slowly."),
		def(Double, "log.cleaner.io.max.bytes.per.second", "1.7976931348623157E308", ClusterWide, positive,
			"Bytes a second that the cleaner may read and write on average."),
		def(Long, "log.cleaner.backoff.ms", "15000", ClusterWide, from(0),
			"How long the cleaner rests when no log is dirty enough."),
	}
}

func logNoEffectDefs() []Def {
	return without("firn does this by itself",
		def(Int, "log.flush.offset.checkpoint.interval.ms", "60000", ReadOnly, from(0),
			"Time between two writes of the recovery checkpoint."),
		def(Int, "log.flush.start.offset.checkpoint.interval.ms", "60000", ReadOnly, from(0),
			"Time between two writes of the checkpoint of log starts."),
		def(Int, "num.recovery.threads.per.data.dir", "2", ClusterWide, from(1),
			"How many logs of a folder are opened at once at the start."),
		internal(def(Long, "log.initial.task.delay.ms", "30000", ReadOnly, from(0),
			"Time from the start until the first round of housekeeping.")),
		internal(def(Int, "producer.id.expiration.check.interval.ms", "600000", ReadOnly, from(1),
			"Time between two looks for producers that have expired.")),
		def(Long, "log.dir.failure.timeout.ms", "30000", ReadOnly, from(1),
			"How long a broker may fail to tell the controller of a broken disk before it stops."),
		def(List, "cordoned.log.dirs", "", PerBroker, anything,
			"Folders that get no new partitions."),
	)
}
