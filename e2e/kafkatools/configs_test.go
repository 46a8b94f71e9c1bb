package kafkatools

import "testing"

// brokerConfigs reads and changes configs of the broker, and of all brokers.
func (k *bench) brokerConfigs(t *testing.T) {
	k.steps(t, []step{
		{run: "configs --entity-type brokers --entity-name 1 --describe", want: []string{"Dynamic configs for broker 1 are:"}, not: []string{"log.cleaner"}},
		{run: "configs --entity-type brokers --entity-name 1 --describe --all", want: []string{
			"All configs for broker 1 are:", "log.cleaner.threads=1 sensitive=false synonyms={DEFAULT_CONFIG:log.cleaner.threads=1}",
			"auto.create.topics.enable=", "offsets.retention.minutes=10080", "group.initial.rebalance.delay.ms=3000", "node.id=1",
		}},
		{run: "configs --broker-defaults --describe", want: []string{"Default configs for brokers in the cluster are:"}, not: []string{"synonyms"}},

		{run: "configs --entity-type brokers --entity-name 1 --alter --add-config log.cleaner.threads=2", want: []string{"Completed updating config for broker 1."}},
		{run: "configs --broker 1 --describe", want: []string{"log.cleaner.threads=2 sensitive=false synonyms={DYNAMIC_BROKER_CONFIG:log.cleaner.threads=2, DEFAULT_CONFIG:log.cleaner.threads=1}"}},
		{run: "configs --entity-type brokers --entity-default --alter --add-config log.cleaner.threads=2", want: []string{"Completed updating default config for brokers in the cluster."}},
		{run: "configs --broker 1 --describe --all", want: []string{"synonyms={DYNAMIC_BROKER_CONFIG:log.cleaner.threads=2, DYNAMIC_DEFAULT_BROKER_CONFIG:log.cleaner.threads=2, DEFAULT_CONFIG:log.cleaner.threads=1}"}},
		{run: "configs --broker 1 --alter --delete-config log.cleaner.threads"},
		{run: "configs --broker-defaults --describe", want: []string{"log.cleaner.threads=2 sensitive=false synonyms={DYNAMIC_DEFAULT_BROKER_CONFIG:log.cleaner.threads=2"}},
		{run: "configs --broker-defaults --alter --delete-config log.cleaner.threads"},
		{run: "configs --broker-defaults --describe", not: []string{"log.cleaner.threads"}},

		{run: "configs --broker 1 --alter --add-config log.cleaner.threads=several", code: 1, want: []string{"InvalidConfigurationException", "several", "log.cleaner.threads"}},
		{run: "configs --broker 1 --alter --add-config num.network.threads=0", code: 1, want: []string{"num.network.threads"}},
		{run: "configs --broker 1 --alter --add-config broker.rack=here", code: 1, want: []string{"InvalidRequestException", "broker.rack"}},

		// A default of the cluster reaches topics at once, and is told as the synonym that it is.
		{run: "topics --create --topic inherits"},
		{run: "configs --broker-defaults --alter --add-config message.max.bytes=2000000"},
		{run: "configs --topic inherits --describe --all", want: []string{
			"max.message.bytes=2000000 sensitive=false synonyms={DYNAMIC_DEFAULT_BROKER_CONFIG:message.max.bytes=2000000, DEFAULT_CONFIG:message.max.bytes=1048588}",
		}},
		{run: "configs --broker-defaults --alter --delete-config message.max.bytes"},
		{run: "configs --topic inherits --describe --all", want: []string{"max.message.bytes=1048588 sensitive=false"}},
		{run: "topics --delete --topic inherits"},
	})
}

// loggers changes what the broker logs while it runs (KIP-412).
func (k *bench) loggers(t *testing.T) {
	k.steps(t, []step{
		{run: "configs --entity-type broker-loggers --entity-name 1 --describe", want: []string{"Dynamic configs for broker-logger 1 are:", "root=", "broker.partition="}},
		{run: "configs --entity-type broker-loggers --entity-name 1 --alter --add-config broker.partition=DEBUG", want: []string{"Completed updating config for broker-logger 1."}},
		{run: "configs --broker-logger 1 --describe", want: []string{"broker.partition=DEBUG"}},
		{run: "configs --broker-logger 1 --alter --delete-config broker.partition"},
		{run: "configs --broker-logger 1 --describe", not: []string{"broker.partition=DEBUG"}},
		{run: "configs --broker-logger 1 --alter --add-config broker.partition=LOUD", code: 1, want: []string{"LOUD"}},
		{run: "configs --broker-logger 1 --alter --add-config nonesuch=INFO", code: 1, want: []string{"nonesuch"}},
	})
}

// groupConfigs stores configs of groups, which may be set before a group exists.
func (k *bench) groupConfigs(t *testing.T) {
	k.steps(t, []step{
		{run: "configs --entity-type groups --entity-name readers --alter --add-config consumer.session.timeout.ms=50000,consumer.heartbeat.interval.ms=6000", want: []string{"Completed updating config for group readers."}},
		{run: "configs --entity-type groups --entity-name readers --describe", want: []string{
			"Dynamic configs for group readers are:", "consumer.session.timeout.ms=50000 sensitive=false synonyms={DYNAMIC_GROUP_CONFIG:consumer.session.timeout.ms=50000",
			"consumer.heartbeat.interval.ms=6000",
		}},
		{run: "configs --group readers --describe --all", want: []string{"All configs for group readers are:", "share.session.timeout.ms=45000"}},
		{run: "configs --entity-type groups --describe", want: []string{"Dynamic configs for group readers are:"}},
		{run: "configs --group readers --alter --add-config consumer.session.timeout.ms=soon", code: 1, want: []string{"InvalidConfigurationException", "consumer.session.timeout.ms"}},
		{run: "configs --group readers --alter --add-config consumer.session.timeout.ms=1", code: 1, want: []string{"InvalidConfigurationException", "consumer.session.timeout.ms"}},
		{run: "configs --group readers --alter --add-config nonsense=1", code: 1, want: []string{"nonsense"}},
		{run: "configs --group readers --alter --delete-config consumer.session.timeout.ms,consumer.heartbeat.interval.ms"},
		{run: "configs --group readers --describe", not: []string{"consumer.session.timeout.ms"}},
	})
}
