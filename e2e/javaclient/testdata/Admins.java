import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.config.ConfigResource.Type;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.StringSerializer;

/** The calls of Kafka's AdminClient, against a broker that has nothing but what this program makes. */
public class Admins {
    private static Admin admin;

    public static void main(String[] args) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        config.put("default.api.timeout.ms", 30000);
        admin = Admin.create(config);
        cluster();
        topics();
        pages();
        offsets(args[0]);
        configsOfTopics();
        configsOfTheRest();
        groups();
        System.out.println("done");
        admin.close(Duration.ofSeconds(5));
    }

    private static void cluster() {
        Check.check("describeCluster", () -> {
            DescribeClusterResult r = admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true));
            Check.equal(1, r.nodes().get().size());
            Check.equal(1, r.controller().get().id());
            Check.that(r.clusterId().get().length() > 10, r.clusterId().get());
        });
        Check.check("describeFeatures", () -> {
            FeatureMetadata f = admin.describeFeatures().featureMetadata().get();
            Set<String> unfinished = new HashSet<>(f.finalizedFeatures().keySet());
            unfinished.retainAll(Set.of("group.version", "transaction.version", "share.version", "streams.version"));
            Check.equal("[]", unfinished);
            Check.that(f.finalizedFeatures().containsKey("metadata.version"), f);
        });
        Check.check("describeLogDirs", () -> {
            Map<String, LogDirDescription> dirs = admin.describeLogDirs(List.of(1)).allDescriptions().get().get(1);
            Check.equal(1, dirs.size());
            LogDirDescription dir = dirs.values().iterator().next();
            Check.equal(null, dir.error());
            Check.that(dir.totalBytes().getAsLong() > dir.usableBytes().getAsLong() && dir.usableBytes().getAsLong() > 0, dir);
        });
        Check.check("describeMetadataQuorum is refused", () -> Check.fails(UnsupportedVersionException.class, () -> admin.describeMetadataQuorum().quorumInfo().get()));
        Check.check("listTransactions is refused", () -> Check.fails(UnsupportedVersionException.class, () -> admin.listTransactions().all().get()));
        Check.check("describeAcls is refused", () -> Check.fails(UnsupportedVersionException.class,
            () -> admin.describeAcls(org.apache.kafka.common.acl.AclBindingFilter.ANY).values().get()));
    }

    private static void topics() {
        Check.check("createTopics", () -> {
            CreateTopicsResult r = admin.createTopics(List.of(new NewTopic("made", 3, (short) 1).configs(Map.of("retention.ms", "86400000"))));
            Check.equal(3, r.numPartitions("made").get());
            Check.equal(1, r.replicationFactor("made").get());
            Check.equal("86400000", r.config("made").get().get("retention.ms").value());
            Check.that(!r.topicId("made").get().equals(Uuid.ZERO_UUID), "no topic id");
        });
        Check.check("createTopics with defaults", () -> {
            CreateTopicsResult r = admin.createTopics(List.of(new NewTopic("defaults", Optional.empty(), Optional.empty())));
            Check.equal(1, r.numPartitions("defaults").get());
        });
        Check.check("createTopics, validate only", () -> {
            admin.createTopics(List.of(new NewTopic("unmade", 3, (short) 1)), new CreateTopicsOptions().validateOnly(true)).all().get();
            Check.that(!admin.listTopics().names().get().contains("unmade"), "it was made");
        });
        Check.check("createTopics that cannot be", () -> {
            Map<String, org.apache.kafka.common.KafkaFuture<Void>> r = admin.createTopics(List.of(new NewTopic("made", 3, (short) 1), new NewTopic("bad name", 1, (short) 1),
                new NewTopic("many", 1, (short) 3), new NewTopic("none", 0, (short) 1), new NewTopic("odd", 1, (short) 1).configs(Map.of("segment.bytes", "x")),
                new NewTopic("placed", Map.of(0, List.of(9))))).values();
            Check.fails(TopicExistsException.class, () -> r.get("made").get());
            Check.fails(InvalidTopicException.class, () -> r.get("bad name").get());
            Check.fails(InvalidReplicationFactorException.class, () -> r.get("many").get());
            Check.fails(InvalidPartitionsException.class, () -> r.get("none").get());
            Check.fails(InvalidConfigurationException.class, () -> r.get("odd").get());
            Check.fails(InvalidReplicaAssignmentException.class, () -> r.get("placed").get());
        });
        Check.check("describeTopics by name and id", () -> {
            TopicDescription d = admin.describeTopics(List.of("made"), new DescribeTopicsOptions().includeAuthorizedOperations(true)).allTopicNames().get().get("made");
            Check.equal(3, d.partitions().size());
            Check.equal(1, d.partitions().get(2).leader().id());
            Check.that(d.authorizedOperations().contains(AclOperation.READ), d.authorizedOperations());
            TopicDescription by = admin.describeTopics(TopicCollection.ofTopicIds(List.of(d.topicId()))).allTopicIds().get().get(d.topicId());
            Check.equal("made", by.name());
            Check.fails(UnknownTopicOrPartitionException.class, () -> admin.describeTopics(List.of("nonesuch")).allTopicNames().get());
            Check.fails(UnknownTopicIdException.class, () -> admin.describeTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).allTopicIds().get());
        });
        Check.check("createPartitions", () -> {
            admin.createPartitions(Map.of("made", NewPartitions.increaseTo(4))).all().get();
            Check.equal(4, admin.describeTopics(List.of("made")).allTopicNames().get().get("made").partitions().size());
            Check.fails(InvalidPartitionsException.class, () -> admin.createPartitions(Map.of("made", NewPartitions.increaseTo(2))).all().get());
        });
        Check.check("electLeaders", () -> {
            Check.fails(ElectionNotNeededException.class, () -> {
                Optional<Throwable> e = admin.electLeaders(ElectionType.PREFERRED, Set.of(new TopicPartition("made", 0))).partitions().get().get(new TopicPartition("made", 0));
                throw e.orElseThrow();
            });
        });
        Check.check("partition reassignments", () -> {
            Check.equal("{}", admin.listPartitionReassignments().reassignments().get());
            admin.alterPartitionReassignments(Map.of(new TopicPartition("made", 0), Optional.of(new NewPartitionReassignment(List.of(1))))).all().get();
            Check.fails(NoReassignmentInProgressException.class,
                () -> admin.alterPartitionReassignments(Map.of(new TopicPartition("made", 0), Optional.empty())).all().get());
            Check.fails(InvalidReplicaAssignmentException.class,
                () -> admin.alterPartitionReassignments(Map.of(new TopicPartition("made", 0), Optional.of(new NewPartitionReassignment(List.of(9))))).all().get());
        });
        Check.check("deleteTopics by name and id", () -> {
            Uuid id = admin.describeTopics(List.of("defaults")).allTopicNames().get().get("defaults").topicId();
            admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get();
            Check.fails(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of("defaults")).all().get());
            Check.fails(UnknownTopicIdException.class, () -> admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get());
        });
    }

    /** DescribeTopicPartitions answers in pages, which the client puts together. */
    private static void pages() {
        Check.check("describeTopics in pages", () -> {
            List<NewTopic> wide = new ArrayList<>();
            Set<String> names = new TreeSet<>();
            for (int i = 0; i < 5; i++) {
                names.add("wide" + i);
                wide.add(new NewTopic("wide" + i, 7, (short) 1));
            }
            admin.createTopics(wide).all().get();
            Map<String, TopicDescription> all = admin.describeTopics(names, new DescribeTopicsOptions().partitionSizeLimitPerResponse(3)).allTopicNames().get();
            Check.equal(names, new TreeSet<>(all.keySet()));
            for (TopicDescription d : all.values()) {
                Check.equal(7, d.partitions().size());
                for (int p = 0; p < 7; p++) {
                    Check.equal(p, d.partitions().get(p).partition());
                    Check.equal("[]", d.partitions().get(p).elr());
                }
            }
            admin.deleteTopics(names).all().get();
        });
    }

    private static void offsets(String bootstrap) {
        TopicPartition tp = new TopicPartition("offsets", 0);
        Check.check("listOffsets, all specs", () -> {
            admin.createTopics(List.of(new NewTopic("offsets", 1, (short) 1))).all().get();
            Check.equal(-1, offset(tp, OffsetSpec.maxTimestamp()));
            Properties config = new Properties();
            config.put("bootstrap.servers", bootstrap);
            config.put("linger.ms", 0);
            try (KafkaProducer<String, String> producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
                for (int i = 0; i < 10; i++) {
                    long at = i == 6 ? 9000 : 1000 + i * 100; // the newest is not the last
                    producer.send(new ProducerRecord<>("offsets", 0, at, "key", "value")).get();
                }
                DescribeProducersResult.PartitionProducerState state = admin.describeProducers(List.of(tp)).partitionResult(tp).get();
                Check.equal(1, state.activeProducers().size());
                ProducerState p = state.activeProducers().get(0);
                Check.equal(9, p.lastSequence());
                Check.equal(0, p.producerEpoch());
                Check.that(p.currentTransactionStartOffset().isEmpty(), p);
            }
            Check.equal(0, offset(tp, OffsetSpec.earliest()));
            Check.equal(10, offset(tp, OffsetSpec.latest()));
            Check.equal(6, offset(tp, OffsetSpec.maxTimestamp()));
            Check.equal(3, offset(tp, OffsetSpec.forTimestamp(1250)));
            Check.equal(6, offset(tp, OffsetSpec.forTimestamp(2000)));
            Check.equal(-1, offset(tp, OffsetSpec.forTimestamp(9001)));
            Check.equal(0, offset(tp, OffsetSpec.earliestLocal()));
            Check.that(offset(tp, OffsetSpec.latestTiered()) >= -1, "latest tiered");
            Check.that(offset(tp, OffsetSpec.earliestPendingUpload()) >= -1, "earliest pending upload");
        });
        Check.check("deleteRecords", () -> {
            Check.equal(4, admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(4))).lowWatermarks().get(tp).get().lowWatermark());
            Check.equal(4, offset(tp, OffsetSpec.earliest()));
            Check.fails(OffsetOutOfRangeException.class, () -> admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(400))).all().get());
            Check.equal(10, admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(-1))).lowWatermarks().get(tp).get().lowWatermark());
        });
        Check.check("describeReplicaLogDirs", () -> {
            Map<org.apache.kafka.common.TopicPartitionReplica, DescribeReplicaLogDirsResult.ReplicaLogDirInfo> r =
                admin.describeReplicaLogDirs(List.of(new org.apache.kafka.common.TopicPartitionReplica("offsets", 0, 1))).all().get();
            Check.that(r.values().iterator().next().getCurrentReplicaLogDir().startsWith("/"), r);
        });
    }

    private static long offset(TopicPartition tp, OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(tp, spec)).partitionResult(tp).get().offset();
    }

    private static void alter(ConfigResource resource, AlterConfigOp... ops) throws Exception {
        admin.incrementalAlterConfigs(Map.of(resource, List.of(ops))).all().get();
    }

    private static AlterConfigOp op(OpType type, String name, String value) {
        return new AlterConfigOp(new ConfigEntry(name, value), type);
    }

    private static ConfigEntry entry(ConfigResource resource, String name) throws Exception {
        return admin.describeConfigs(List.of(resource), new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true)).all().get().get(resource).get(name);
    }

    private static void configsOfTopics() {
        ConfigResource made = new ConfigResource(Type.TOPIC, "made");
        Check.check("topic configs: described", () -> {
            ConfigEntry e = entry(made, "retention.ms");
            Check.equal("86400000", e.value());
            Check.equal(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, e.source());
            Check.equal(ConfigEntry.ConfigType.LONG, e.type());
            Check.that(e.documentation().length() > 20, e.documentation());
            Check.equal(2, e.synonyms().size());
            Check.equal(ConfigEntry.ConfigType.LIST, entry(made, "cleanup.policy").type());
            Check.equal(ConfigEntry.ConfigSource.DEFAULT_CONFIG, entry(made, "segment.ms").source());
        });
        Check.check("topic configs: set, append, subtract, delete", () -> {
            alter(made, op(OpType.SET, "segment.bytes", "2097152"), op(OpType.SET, "remote.storage.enable", "false"), op(OpType.SET, "remote.log.delete.on.disable", "true"));
            Check.equal("2097152", entry(made, "segment.bytes").value());
            alter(made, op(OpType.APPEND, "cleanup.policy", "compact"));
            Check.equal("delete,compact", entry(made, "cleanup.policy").value());
            alter(made, op(OpType.SUBTRACT, "cleanup.policy", "delete"));
            Check.equal("compact", entry(made, "cleanup.policy").value());
            alter(made, op(OpType.DELETE, "cleanup.policy", ""), op(OpType.DELETE, "segment.bytes", ""));
            Check.equal("delete", entry(made, "cleanup.policy").value());
            Check.equal("1073741824", entry(made, "segment.bytes").value());
        });
        Check.check("topic configs: validate only", () -> {
            admin.incrementalAlterConfigs(Map.of(made, List.of(op(OpType.SET, "segment.bytes", "3145728"))), new AlterConfigsOptions().validateOnly(true)).all().get();
            Check.equal("1073741824", entry(made, "segment.bytes").value());
        });
        Check.check("topic configs: refused", () -> {
            String why = Check.fails(InvalidConfigurationException.class, () -> alter(made, op(OpType.SET, "segment.bytes", "12")));
            Check.that(why.contains("segment.bytes") && why.contains("12"), why);
            Check.fails(InvalidConfigurationException.class, () -> alter(made, op(OpType.SET, "no.such.config", "12")));
            Check.fails(InvalidConfigurationException.class, () -> alter(made, op(OpType.APPEND, "segment.bytes", "12")));
            Check.fails(UnknownTopicOrPartitionException.class, () -> alter(new ConfigResource(Type.TOPIC, "nonesuch"), op(OpType.SET, "segment.bytes", "2097152")));
            Check.fails(UnknownTopicOrPartitionException.class, () -> entry(new ConfigResource(Type.TOPIC, "nonesuch"), "segment.bytes"));
        });
    }

    private static void configsOfTheRest() {
        ConfigResource broker = new ConfigResource(Type.BROKER, "1");
        ConfigResource all = new ConfigResource(Type.BROKER, "");
        ConfigResource logger = new ConfigResource(Type.BROKER_LOGGER, "1");
        ConfigResource group = new ConfigResource(Type.GROUP, "settled");
        Check.check("broker configs: layers", () -> {
            Check.equal(ConfigEntry.ConfigSource.DEFAULT_CONFIG, entry(broker, "log.cleaner.threads").source());
            alter(all, op(OpType.SET, "log.cleaner.threads", "2"));
            Check.equal(ConfigEntry.ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG, entry(broker, "log.cleaner.threads").source());
            alter(broker, op(OpType.SET, "log.cleaner.threads", "1"));
            ConfigEntry e = entry(broker, "log.cleaner.threads");
            Check.equal(ConfigEntry.ConfigSource.DYNAMIC_BROKER_CONFIG, e.source());
            Check.equal("1", e.value());
            Check.equal(3, e.synonyms().size());
            Check.that(!e.isReadOnly(), "read-only");
            alter(broker, op(OpType.DELETE, "log.cleaner.threads", ""));
            Check.equal("2", entry(broker, "log.cleaner.threads").value());
            alter(all, op(OpType.DELETE, "log.cleaner.threads", ""));
            Check.equal("1", entry(broker, "log.cleaner.threads").value());
            Check.that(entry(broker, "node.id").isReadOnly(), "node.id can be written");
        });
        Check.check("broker configs: a list", () -> {
            alter(all, op(OpType.APPEND, "log.cleanup.policy", "compact"));
            Check.equal("delete,compact", entry(broker, "log.cleanup.policy").value());
            alter(all, op(OpType.DELETE, "log.cleanup.policy", ""));
        });
        Check.check("broker configs: refused", () -> {
            Check.fails(InvalidRequestException.class, () -> alter(broker, op(OpType.SET, "node.id", "7")));
            Check.fails(InvalidConfigurationException.class, () -> alter(broker, op(OpType.SET, "log.cleaner.threads", "few")));
        });
        Check.check("loggers", () -> {
            Config config = admin.describeConfigs(List.of(logger)).all().get().get(logger);
            Check.that(config.entries().size() > 3, config);
            Check.equal(ConfigEntry.ConfigSource.DYNAMIC_BROKER_LOGGER_CONFIG, config.get("root").source());
            String name = config.entries().stream().map(ConfigEntry::name).filter(n -> !n.equals("root")).findFirst().orElseThrow();
            alter(logger, op(OpType.SET, name, "DEBUG"));
            Check.equal("DEBUG", entry(logger, name).value());
            alter(logger, op(OpType.DELETE, name, ""));
            Check.equal(config.get(name).value(), entry(logger, name).value());
            Check.fails(InvalidConfigurationException.class, () -> alter(logger, op(OpType.SET, name, "SHOUT")));
            Check.fails(InvalidConfigurationException.class, () -> alter(logger, op(OpType.SET, "nonesuch", "INFO")));
            Check.fails(InvalidRequestException.class, () -> alter(logger, op(OpType.APPEND, name, "INFO")));
        });
        Check.check("group configs", () -> {
            alter(group, op(OpType.SET, "consumer.session.timeout.ms", "50000"));
            ConfigEntry e = entry(group, "consumer.session.timeout.ms");
            Check.equal("50000", e.value());
            Check.equal(ConfigEntry.ConfigSource.DYNAMIC_GROUP_CONFIG, e.source());
            Check.equal(ConfigEntry.ConfigSource.DEFAULT_CONFIG, entry(group, "consumer.heartbeat.interval.ms").source());
            Check.fails(InvalidConfigurationException.class, () -> alter(group, op(OpType.SET, "consumer.session.timeout.ms", "-5")));
        });
        Check.check("listConfigResources", () -> {
            Collection<ConfigResource> found = admin.listConfigResources(Set.of(Type.TOPIC, Type.GROUP, Type.BROKER, Type.BROKER_LOGGER), new ListConfigResourcesOptions()).all().get();
            Check.that(found.containsAll(Set.of(new ConfigResource(Type.TOPIC, "made"), broker, logger, group)), found);
            alter(group, op(OpType.DELETE, "consumer.session.timeout.ms", ""));
        });
        Check.check("client metrics are refused", () -> Check.fails(ApiException.class,
            () -> alter(new ConfigResource(Type.CLIENT_METRICS, "m"), op(OpType.SET, "interval.ms", "1000"))));
    }

    private static void groups() {
        TopicPartition tp = new TopicPartition("made", 0);
        Check.check("group offsets", () -> {
            admin.alterConsumerGroupOffsets("readers", Map.of(tp, new OffsetAndMetadata(0, Optional.of(0), "note"), new TopicPartition("made", 1), new OffsetAndMetadata(0))).all().get();
            Map<TopicPartition, OffsetAndMetadata> got = admin.listConsumerGroupOffsets("readers").partitionsToOffsetAndMetadata().get();
            Check.equal("note", got.get(tp).metadata());
            Check.equal(2, got.size());
            admin.deleteConsumerGroupOffsets("readers", Set.of(tp)).all().get();
            Check.equal(1, admin.listConsumerGroupOffsets("readers").partitionsToOffsetAndMetadata().get().size());
            Check.equal("{}", admin.listConsumerGroupOffsets("unknown").partitionsToOffsetAndMetadata().get());
        });
        Check.check("groups listed and described", () -> {
            Collection<GroupListing> listed = admin.listGroups(new ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY))).all().get();
            Check.equal(Set.of("readers"), names(listed));
            Check.equal(Set.of(), names(admin.listGroups(new ListGroupsOptions().inGroupStates(Set.of(GroupState.STABLE))).all().get()));
            ConsumerGroupDescription d = admin.describeConsumerGroups(List.of("readers"), new DescribeConsumerGroupsOptions().includeAuthorizedOperations(true)).all().get().get("readers");
            Check.equal(GroupState.EMPTY, d.groupState());
            Check.equal(1, d.coordinator().id());
            Check.that(d.authorizedOperations().contains(AclOperation.DELETE), d.authorizedOperations());
            Check.fails(GroupIdNotFoundException.class, () -> admin.describeConsumerGroups(List.of("unknown")).all().get());
        });
        Check.check("groups deleted", () -> {
            admin.deleteConsumerGroups(List.of("readers")).all().get();
            Check.fails(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroups(List.of("readers")).all().get());
            Check.equal(Set.of(), names(admin.listGroups().all().get()));
        });
    }

    private static Set<String> names(Collection<GroupListing> groups) {
        Set<String> names = new TreeSet<>();
        groups.forEach(g -> names.add(g.groupId()));
        return names;
    }
}
