"""What a user of confluent-kafka does with a broker: one function a check, against the broker named on the command line."""
import sys
import time
import traceback
import uuid

from confluent_kafka import (OFFSET_BEGINNING, Consumer, ConsumerGroupState, ConsumerGroupTopicPartitions, IsolationLevel,
                             KafkaException, Producer, TopicCollection, TopicPartition)
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ConfigSource, NewPartitions,
                                   NewTopic, OffsetSpec, ResourceType)

BROKER = sys.argv[1]
admin = AdminClient({"bootstrap.servers": BROKER})


def fresh(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def topic(partitions=1, **config):
    name = fresh("checks")
    settled(admin.create_topics([NewTopic(name, partitions, 1, config={k.replace("_", "."): v for k, v in config.items()})]))
    return name


def settled(futures):
    return {k: f.result(30) for k, f in futures.items()}


def refused(futures, code):
    for f in futures.values():
        try:
            f.result(30)
        except KafkaException as e:
            assert e.args[0].name() == code, e
        else:
            raise AssertionError(f"not refused with {code}")


def produce(name, values, partition=None, timestamps=None, **config):
    told = []

    def on_delivery(err, message):
        assert err is None, err
        told.append((message.partition(), message.offset()))

    p = Producer({"bootstrap.servers": BROKER, "linger.ms": 5, **config})
    for i, value in enumerate(values):
        more = {} if partition is None else {"partition": partition}
        if timestamps:
            more["timestamp"] = timestamps[i]
        p.produce(name, value, key=f"k{i}", headers=[("h", b"x")], on_delivery=on_delivery, **more)
        p.poll(0)
    assert p.flush(30) == 0, "records are left over"
    assert len(told) == len(values)
    return told


def consumer(group, *names, **config):
    c = Consumer({"bootstrap.servers": BROKER, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
                  "session.timeout.ms": 6000, **config})
    if names:
        c.subscribe(list(names))
    return c


def take(c, count, limit=40):
    got, end = [], time.monotonic() + limit
    while len(got) < count and time.monotonic() < end:
        m = c.poll(0.5)
        if m is not None:
            assert m.error() is None, m.error()
            got.append(m)
    assert len(got) == count, f"{len(got)} of {count} records"
    return got


def until(what, condition, *members, limit=40):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, what
        for m in members:
            m.poll(0.1)


def produced_with_each_codec_comes_back():
    name = topic()
    values = [f"value {i} ".encode() * 50 for i in range(100)]
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        produce(name, values, **{"compression.type": codec})
    c = consumer(fresh("group"), name)
    got = take(c, 500)
    assert [m.value() for m in got] == values * 5
    assert got[0].key() == b"k0" and got[0].headers() == [("h", b"x")]
    assert [m.offset() for m in got] == list(range(500))
    c.close()


def topic_compression_recompresses():
    name = topic(compression_type="zstd")
    produce(name, [b"a" * 1000] * 50, **{"compression.type": "gzip"})
    c = consumer(fresh("group"), name)
    assert [m.value() for m in take(c, 50)] == [b"a" * 1000] * 50
    c.close()


def acks_of_every_kind():
    for acks in ["0", "1", "all"]:
        name = topic()
        produce(name, [b"x"] * 10, acks=acks)
        c = consumer(fresh("group"), name)
        take(c, 10)
        c.close()


def idempotent_producer_keeps_order():
    name = topic(3)
    told = produce(name, [b"%d" % i for i in range(3000)], **{"enable.idempotence": True, "batch.num.messages": 50})
    assert len(set(told)) == 3000


def too_large_a_record_is_refused():
    name = topic(max_message_bytes="2000")
    errors = []
    p = Producer({"bootstrap.servers": BROKER})
    p.produce(name, b"x" * 5000, on_delivery=lambda err, _: errors.append(err))
    p.flush(30)
    assert errors[0].name() == "MSG_SIZE_TOO_LARGE", errors


def a_group_commits_and_resumes():
    name, group = topic(), fresh("group")
    produce(name, [b"%d" % i for i in range(20)])
    c = consumer(group, name)
    got = take(c, 10)
    c.commit(got[-1], asynchronous=False)
    assert c.committed([TopicPartition(name, 0)], 10)[0].offset == 10
    c.close()
    c = consumer(group, name)
    assert take(c, 10)[0].offset() == 10
    c.commit(offsets=[TopicPartition(name, 0, 20, metadata="note")], asynchronous=False)
    assert c.committed([TopicPartition(name, 0)], 10)[0].metadata == "note"
    c.close()
    never = consumer(fresh("group"))
    assert never.committed([TopicPartition(name, 0)], 10)[0].offset == -1001
    never.close()


def commits_by_itself():
    name, group = topic(), fresh("group")
    produce(name, [b"x"] * 10)
    c = consumer(group, name, **{"enable.auto.commit": True, "auto.commit.interval.ms": 100})
    take(c, 10)
    until("the offset was not committed", lambda: c.committed([TopicPartition(name, 0)], 10)[0].offset == 10, c)
    c.close()


def rebalances(strategy):
    name, group = topic(6), fresh("group")
    a = consumer(group, name, **{"partition.assignment.strategy": strategy})
    until("the first has not all", lambda: len(a.assignment()) == 6, a)
    b = consumer(group, name, **{"partition.assignment.strategy": strategy})
    until("they do not share", lambda: len(a.assignment()) == 3 and len(b.assignment()) == 3, a, b)
    assert not {(p.topic, p.partition) for p in a.assignment()} & {(p.topic, p.partition) for p in b.assignment()}
    b.close()
    until("the first did not get all back", lambda: len(a.assignment()) == 6, a)
    a.close()


def range_rebalances():
    rebalances("range")


def roundrobin_rebalances():
    rebalances("roundrobin")


def cooperative_rebalances():
    rebalances("cooperative-sticky")


def a_static_member_keeps_its_place():
    name, group = topic(4), fresh("group")
    static = {"group.instance.id": "first", "session.timeout.ms": 30000}
    a, b = consumer(group, name, **static), consumer(group, name, **{**static, "group.instance.id": "second"})
    until("they do not share", lambda: len(a.assignment()) == 2 and len(b.assignment()) == 2, a, b)
    before = {p.partition for p in a.assignment()}
    a.close()
    a = consumer(group, name, **static)
    until("it did not come back", lambda: len(a.assignment()) == 2, a, b)
    assert {p.partition for p in a.assignment()} == before
    members = admin.describe_consumer_groups([group])[group].result(30).members
    assert sorted(m.group_instance_id for m in members) == ["first", "second"], members
    a.close()
    b.close()


def a_second_static_member_fences_the_first():
    name, group = topic(), fresh("group")
    fatal = []
    a = consumer(group, name, **{"group.instance.id": "same", "error_cb": lambda e: fatal.append(e.name())})
    until("no assignment", lambda: a.assignment(), a)
    b = consumer(group, name, **{"group.instance.id": "same"})
    until("no assignment", lambda: b.assignment(), b)

    def fenced():
        m = a.poll(0.1)
        return "_FATAL" in fatal or m is not None and m.error() is not None
    until("the first was not told", fenced, b)
    b.close()


def offsets_by_time():
    name = topic()
    produce(name, [b"a", b"b", b"c"], timestamps=[1577836800000, 1609459200000, 1704067200000])
    c = consumer(fresh("group"))
    for when, offset in [(0, 0), (1577836800001, 1), (1609459200000, 1), (1704067200001, -1)]:
        assert c.offsets_for_times([TopicPartition(name, 0, when)], 10)[0].offset == offset, when
    assert c.get_watermark_offsets(TopicPartition(name, 0), 10) == (0, 3)
    c.assign([TopicPartition(name, 0, OFFSET_BEGINNING)])
    take(c, 3)
    c.seek(TopicPartition(name, 0, 1))
    assert take(c, 2)[0].value() == b"b"
    c.pause([TopicPartition(name, 0)])
    c.resume([TopicPartition(name, 0)])
    c.close()


def topics_are_made_described_grown_and_deleted():
    name = topic(2, retention_ms="3600000")
    refused(admin.create_topics([NewTopic(name, 2, 1)]), "TOPIC_ALREADY_EXISTS")
    refused(admin.create_topics([NewTopic("bad name!", 1, 1)]), "TOPIC_EXCEPTION")
    refused(admin.create_topics([NewTopic(fresh("x"), 1, 3)]), "INVALID_REPLICATION_FACTOR")
    refused(admin.create_topics([NewTopic(fresh("x"), 1, 1, config={"retention.ms": "soon"})]), "INVALID_CONFIG")
    dry = fresh("dry")
    settled(admin.create_topics([NewTopic(dry, 1, 1)], validate_only=True))
    assert dry not in admin.list_topics(timeout=10).topics
    settled(admin.create_partitions([NewPartitions(name, 5)]))
    described = admin.describe_topics(TopicCollection([name]))[name].result(30)
    assert len(described.partitions) == 5 and described.partitions[0].leader.id >= 0
    refused(admin.create_partitions([NewPartitions(name, 3)]), "INVALID_PARTITIONS")
    settled(admin.delete_topics([name]))
    refused(admin.delete_topics([name]), "UNKNOWN_TOPIC_OR_PART")


def the_cluster_is_described():
    cluster = admin.describe_cluster().result(30)
    assert cluster.cluster_id and len(cluster.nodes) == 1 and cluster.controller.id == cluster.nodes[0].id


def configs_of(kind, name):
    resource = ConfigResource(kind, name)
    return admin.describe_configs([resource])[resource].result(30)


def alter(kind, name, key, operation, value=None):
    entry = ConfigEntry(key, value, incremental_operation=operation)
    return admin.incremental_alter_configs([ConfigResource(kind, name, incremental_configs=[entry])])


def topic_configs_are_described_and_changed():
    name = topic(retention_ms="1000")
    entry = configs_of(ResourceType.TOPIC, name)["retention.ms"]
    assert entry.value == "1000" and entry.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    settled(alter(ResourceType.TOPIC, name, "retention.ms", AlterConfigOpType.SET, "2000"))
    assert configs_of(ResourceType.TOPIC, name)["retention.ms"].value == "2000"
    settled(alter(ResourceType.TOPIC, name, "retention.ms", AlterConfigOpType.DELETE))
    assert configs_of(ResourceType.TOPIC, name)["retention.ms"].is_default
    refused(alter(ResourceType.TOPIC, name, "retention.ms", AlterConfigOpType.SET, "soon"), "INVALID_CONFIG")
    refused(alter(ResourceType.TOPIC, name, "no.such.config", AlterConfigOpType.SET, "1"), "INVALID_CONFIG")
    # The older call, which replaces all that is set.
    settled(admin.alter_configs([ConfigResource(ResourceType.TOPIC, name, set_config={"max.message.bytes": "5000"})]))
    assert configs_of(ResourceType.TOPIC, name)["max.message.bytes"].value == "5000"


def broker_configs_are_described_and_changed():
    broker = str(admin.describe_cluster().result(30).nodes[0].id)
    before = configs_of(ResourceType.BROKER, broker)
    assert "num.partitions" in before and before["message.max.bytes"].value == "1048588"
    settled(alter(ResourceType.BROKER, broker, "message.max.bytes", AlterConfigOpType.SET, "2000000"))
    until("the change does not show", lambda: configs_of(ResourceType.BROKER, broker)["message.max.bytes"].value == "2000000")
    settled(alter(ResourceType.BROKER, broker, "message.max.bytes", AlterConfigOpType.DELETE))
    until("it does not go back", lambda: configs_of(ResourceType.BROKER, broker)["message.max.bytes"].value == "1048588")
    refused(alter(ResourceType.BROKER, broker, "node.id", AlterConfigOpType.SET, "7"), "INVALID_REQUEST")


def offsets_are_listed():
    name = topic()
    produce(name, [b"a", b"b", b"c"], timestamps=[1000, 3000, 2000])
    p = TopicPartition(name, 0)
    for spec, offset in [(OffsetSpec.earliest(), 0), (OffsetSpec.latest(), 3), (OffsetSpec.max_timestamp(), 1),
                         (OffsetSpec.for_timestamp(1500), 1)]:
        for isolation in [IsolationLevel.READ_UNCOMMITTED, IsolationLevel.READ_COMMITTED]:
            assert admin.list_offsets({p: spec}, isolation_level=isolation)[p].result(30).offset == offset, spec


def records_are_deleted():
    name = topic()
    produce(name, [b"x"] * 10)
    deleted = settled(admin.delete_records([TopicPartition(name, 0, 4)]))
    assert list(deleted.values())[0].low_watermark == 4
    c = consumer(fresh("group"), name)
    assert take(c, 6)[0].offset() == 4
    c.close()
    refused(admin.delete_records([TopicPartition(name, 0, 100)]), "OFFSET_OUT_OF_RANGE")


def groups_are_listed_described_altered_and_deleted():
    name, group = topic(2), fresh("group")
    produce(name, [b"x"] * 10, partition=0)
    c = consumer(group, name, **{"client.id": "me"})
    c.commit(take(c, 10)[-1], asynchronous=False)
    listed = {g.group_id: g for g in admin.list_consumer_groups().result(30).valid}
    assert listed[group].state == ConsumerGroupState.STABLE, listed[group].state
    only = admin.list_consumer_groups(states={ConsumerGroupState.EMPTY}).result(30).valid
    assert group not in [g.group_id for g in only]
    described = admin.describe_consumer_groups([group])[group].result(30)
    assert described.state == ConsumerGroupState.STABLE and described.members[0].client_id == "me"
    assert len(described.members[0].assignment.topic_partitions) == 2
    refused(admin.delete_consumer_groups([group]), "NON_EMPTY_GROUP")
    c.close()
    until("the group is not empty", lambda: admin.describe_consumer_groups([group])[group].result(30).state == ConsumerGroupState.EMPTY)
    settled(admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [TopicPartition(name, 0, 3)])]))
    stored = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(30)
    assert [(p.partition, p.offset) for p in stored.topic_partitions] == [(0, 3)], stored.topic_partitions
    settled(admin.delete_consumer_groups([group]))
    assert group not in [g.group_id for g in admin.list_consumer_groups().result(30).valid]
    refused(admin.delete_consumer_groups([group]), "GROUP_ID_NOT_FOUND")


CHECKS = [f for n, f in list(globals().items()) if callable(f) and getattr(f, "__module__", "") == "__main__" and
          f.__code__.co_argcount == 0]

for check in CHECKS:
    try:
        check()
        print("ok", check.__name__, flush=True)
    except Exception as error:
        traceback.print_exc()
        print(f"not ok {check.__name__}: {type(error).__name__} {error}".replace("\n", " "), flush=True)
print("\nall tried")
