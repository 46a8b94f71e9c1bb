package brokerconfig

import (
	"slices"

	"github.com/firnlog/firn/metadata/configdef"
)

func remoteDefs() []Def {
	return without("the archive is part of firn and tended by firn itself (firn.remote.* and the store)",
		kafka("false", def(Boolean, "remote.log.storage.system.enable", "true", ReadOnly, anything,
			"Whether there is an archive. In firn there always is; topics use it by remote.storage.enable.")),
		def(String, "remote.log.storage.manager.class.name", null, ReadOnly, notEmpty,
			"Class that stores archived segments."),
		def(String, "remote.log.storage.manager.class.path", null, ReadOnly, anything,
			"Where that class is found."),
		def(String, "remote.log.storage.manager.impl.prefix", "rsm.config.", ReadOnly, notEmpty,
			"Prefix of the configs of that class."),
		def(String, "remote.log.metadata.manager.class.name", "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager", ReadOnly, notEmpty,
			"Class that keeps the list of archived segments. firn keeps it in etcd."),
		def(String, "remote.log.metadata.manager.class.path", null, ReadOnly, anything,
			"Where that class is found."),
		def(String, "remote.log.metadata.manager.impl.prefix", "rlmm.config.", ReadOnly, notEmpty,
			"Prefix of the configs of that class."),
		def(String, "remote.log.metadata.manager.listener.name", null, ReadOnly, notEmpty,
			"Listener that this class uses."),
		def(Int, "remote.log.metadata.custom.metadata.max.bytes", "128", ReadOnly, from(0),
			"The longest note that the storage class may keep with a segment."),
		def(Long, "remote.log.index.file.cache.total.size.bytes", "1073741824", ClusterWide, from(1),
			"Disk space for indexes of archived segments."),
		internal(def(Long, "remote.log.index.file.cache.ttl.ms", "900000", ReadOnly, from(-1),
			"How long an index that nobody uses stays on disk.")),
		def(Int, "remote.log.manager.thread.pool.size", "2", ReadOnly, from(1),
			"Threads that tend the archive."),
		def(Int, "remote.log.manager.expiration.thread.pool.size", "10", ClusterWide, from(1),
			"Threads that delete from the archive."),
		def(Int, "remote.log.manager.follower.thread.pool.size", "2", ClusterWide, from(1),
			"Threads that tend the archive of partitions that are followed."),
		def(Long, "remote.log.manager.task.interval.ms", "30000", ReadOnly, from(1),
			"Time between two looks for segments to upload."),
		internal(def(Long, "remote.log.manager.task.retry.backoff.ms", "500", ReadOnly, from(1),
			"First pause after a failed upload.")),
		internal(def(Long, "remote.log.manager.task.retry.backoff.max.ms", "30000", ReadOnly, from(1),
			"Longest pause after a failed upload.")),
		internal(def(Double, "remote.log.manager.task.retry.jitter", "0.2", ReadOnly, rule("0 to 0.5", func(v configdef.Value) bool { return v.Real >= 0 && v.Real <= 0.5 }),
			"Share of that pause that is left to chance.")),
		def(Int, "remote.log.reader.max.pending.tasks", "100", ReadOnly, from(1),
			"Reads of the archive that may wait."),
		def(Long, "remote.list.offsets.request.timeout.ms", "30000", ClusterWide, from(1),
			"How long a lookup of offsets waits for the archive."),
	)
}

func archiveWorkDefs() []Def {
	return slices.Concat(
		without("firn does not hold its traffic with the archive to a rate yet",
			def(Long, "remote.log.manager.copy.max.bytes.per.second", maxLong, ClusterWide, from(1),
				"Bytes a second that are uploaded at most."),
			def(Int, "remote.log.manager.copy.quota.window.num", "11", ReadOnly, from(1),
				"Samples that uploads are measured over."),
			def(Int, "remote.log.manager.copy.quota.window.size.seconds", "1", ReadOnly, from(1),
				"Length of a sample of uploads."),
			def(Long, "remote.log.manager.fetch.max.bytes.per.second", maxLong, ClusterWide, from(1),
				"Bytes a second that are read from the archive at most."),
			def(Int, "remote.log.manager.fetch.quota.window.num", "11", ReadOnly, from(1),
				"Samples that reads of the archive are measured over."),
			def(Int, "remote.log.manager.fetch.quota.window.size.seconds", "1", ReadOnly, from(1),
				"Length of a sample of reads of the archive."),
		),
		without("firn uploads two segments at a time", def(Int, "remote.log.manager.copier.thread.pool.size", "10", ClusterWide, from(1),
			"Threads that upload.")),
		without("firn reads from the archive with up to 16 requests at a time", def(Int, "remote.log.reader.threads", "10", ClusterWide, from(1),
			"Threads that read the archive.")),
	)
}

func archiveReadDefs() []Def {
	return []Def{
		kafka("500", def(Int, "remote.fetch.max.wait.ms", "5000", ClusterWide, from(1),
			"How long a fetch that has nothing else to answer waits for the archive, if the client's own wait is not longer.")),
	}
}
