package brokerconfig

func identityDefs() []Def {
	return []Def{
		as("--broker-id", def(Int, "node.id", null, ReadOnly, from(0),
			"This broker's number.")),
		as("--broker-id", def(Int, "broker.id", "-1", ReadOnly, anything,
			"This broker's number, by its older name.")),
		def(String, "broker.rack", null, ReadOnly, anything,
			"Where the broker stands, told to clients."),
		as("--kafka", def(List, "listeners", "PLAINTEXT://:9092", PerBroker, anything,
			"Where the broker listens for clients.")),
		as("--advertise", def(List, "advertised.listeners", null, ReadOnly, anything,
			"Where clients are told to connect to.")),
		as("--data", def(List, "log.dir", "/tmp/kafka-logs", ReadOnly, anything,
			"The folder of the local logs.")),
		as("--data", def(List, "log.dirs", null, ReadOnly, anything,
			"The folder of the local logs. firn uses one.")),
	}
}

func limitDefs() []Def {
	return []Def{
		def(Int, "socket.request.max.bytes", "104857600", ReadOnly, from(1<<10),
			"The largest request. A larger one closes its connection."),
		kafka("-1", def(Long, "queued.max.request.bytes", "536870912", ReadOnly, orMinusOne(1),
			"Bytes of requests in memory, of all connections; reading pauses beyond. -1 means 512 MiB, for there is always a bound.")),
		kafka("2147483647", def(Int, "max.connections", "10000", ClusterWide, from(1),
			"The most connections of the broker.")),
		kafka("2147483647", def(Int, "max.connections.per.ip", null, ClusterWide, from(0),
			"The most connections from one address, which clients behind one proxy or NAT share. Unless it is set, half of the connections that the broker has room for, so that no address takes them all.")),
		def(String, "max.connections.per.ip.overrides", "", ClusterWide, perAddress,
			"The most connections from certain addresses: pairs such as 10.0.0.7:200, separated by commas."),
		def(Int, "max.connection.creation.rate", "2147483647", ClusterWide, from(1),
			"The most connections accepted a second; the others wait."),
		kafka("102400", livelier(def(Int, "socket.send.buffer.bytes", null, ReadOnly, anything,
			"Send buffer of client connections that are made from then on; -1: as large as the operating system makes it. Unless it is set, 102400 for clients on the same machine, which makes their reading cheaper, and the operating system's for all others, whose rate a fixed one bounds to its size a round trip."))),
		livelier(def(Long, "connections.max.idle.ms", "600000", ReadOnly, anything,
			"A connection without requests for so long is closed. A negative time closes none.")),
		def(Int, "fetch.max.bytes", "57671680", ReadOnly, from(1024),
			"The most bytes that one fetch is answered with, whatever the client asks for."),
		def(Int, "max.incremental.fetch.session.cache.slots", "1000", ReadOnly, from(0),
			"The most incremental fetch sessions that are remembered."),
		def(Int, "max.request.partition.size.limit", "2000", ReadOnly, from(1),
			"The most partitions that one DescribeTopicPartitions request is answered with."),
	}
}

func networkDefs() []Def {
	return without("the operating system and firn size this by themselves",
		def(Int, "socket.receive.buffer.bytes", "102400", ReadOnly, anything,
			"Receive buffer of client connections."),
		def(Int, "socket.listen.backlog.size", "50", ReadOnly, from(1),
			"Connections that may wait to be accepted."),
		def(Long, "socket.connection.setup.timeout.ms", "10000", ReadOnly, anything,
			"First timeout of connections that the broker opens."),
		def(Long, "socket.connection.setup.timeout.max.ms", "30000", ReadOnly, anything,
			"Longest timeout of connections that the broker opens."),
		def(Int, "num.network.threads", "3", ClusterWide, from(1),
			"Threads that read requests and write answers."),
		def(Int, "num.io.threads", "8", ClusterWide, from(1),
			"Threads that serve requests."),
		def(Int, "background.threads", "10", ClusterWide, from(1),
			"Threads for housekeeping."),
		def(Int, "queued.max.requests", "500", ReadOnly, from(1),
			"Requests that may wait for a thread. firn bounds their bytes (queued.max.request.bytes) and those of one connection (firn.connection.max.in.flight)."),
		def(Int, "request.timeout.ms", "30000", ReadOnly, anything,
			"How long the broker waits for answers to its own requests."),
		def(Int, "fetch.purgatory.purge.interval.requests", "1000", ReadOnly, anything,
			"Fetches between two sweeps of those that waited."),
		def(Int, "producer.purgatory.purge.interval.requests", "1000", ReadOnly, anything,
			"Produce requests between two sweeps of those that waited."),
		def(Int, "delete.records.purgatory.purge.interval.requests", "1", ReadOnly, anything,
			"Deletions of records between two sweeps of those that waited."),
		internal(def(Long, "server.max.startup.time.ms", maxLong, ReadOnly, from(0),
			"How long a start may take.")),
	)
}

func listenerDefs() []Def {
	return without("there is one listener, without encryption",
		def(String, "listener.security.protocol.map", "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT", PerBroker, anything,
			"Which security protocol each listener speaks."),
		def(String, "inter.broker.listener.name", null, ReadOnly, anything,
			"Listener that brokers use among themselves."),
		def(List, "controller.listener.names", null, ReadOnly, anything,
			"Listeners of the controller."),
		def(List, "early.start.listeners", null, ReadOnly, anything,
			"Listeners that answer before the broker has started."),
		def(String, "security.inter.broker.protocol", "PLAINTEXT", ReadOnly, oneOf("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
			"Security protocol among brokers."),
	)
}
