"""What a user of aiokafka does with a broker: one coroutine a check, against the broker named on the command line."""
import asyncio
import sys
import traceback
import uuid

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

BROKER = sys.argv[1]


def fresh(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


class Admin:
    async def __aenter__(self):
        self.client = AIOKafkaAdminClient(bootstrap_servers=BROKER)
        await self.client.start()
        return self.client

    async def __aexit__(self, *_):
        await self.client.close()


async def topic(partitions=1, **config):
    name = fresh("checks")
    configs = {k.replace("_", "."): v for k, v in config.items()}
    async with Admin() as admin:
        res = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
        assert all(e[1] == 0 for e in res.topic_errors), res
    return name


async def produce(name, values, partition=None, timestamps=None, **config):
    async with AIOKafkaProducer(bootstrap_servers=BROKER, linger_ms=5, **config) as p:
        waiting = []
        for i, v in enumerate(values):
            waiting.append(await p.send(name, v, key=b"k%d" % i, partition=partition, headers=[("h", b"x")],
                                        timestamp_ms=timestamps[i] if timestamps else None))
        return [await w for w in waiting]


def consumer(group, *names, **config):
    config = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "heartbeat_interval_ms": 500, **config}
    return AIOKafkaConsumer(*names, bootstrap_servers=BROKER, group_id=group, **config)


async def take(c, count):
    return [await asyncio.wait_for(c.getone(), 40) for _ in range(count)]


async def until(what, condition):
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(what)


async def produced_with_each_codec_comes_back():
    name = await topic()
    values = [b"value %d " % i * 50 for i in range(100)]
    for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
        await produce(name, values, compression_type=codec)
    async with consumer(fresh("group"), name) as c:
        got = await take(c, 500)
    assert [m.value for m in got] == values * 5
    assert [m.offset for m in got] == list(range(500))
    assert got[0].headers == (("h", b"x"),)


async def idempotent_producer_keeps_order():
    name = await topic(3)
    told = await produce(name, [b"%d" % i for i in range(2000)], enable_idempotence=True, max_batch_size=1000)
    assert len({(m.partition, m.offset) for m in told}) == 2000


async def too_large_a_record_is_refused():
    name = await topic(max_message_bytes="2000")
    try:
        await produce(name, [b"x" * 5000])
    except MessageSizeTooLargeError:
        return
    raise AssertionError("it was not")


async def a_group_commits_and_resumes():
    name, group = await topic(), fresh("group")
    await produce(name, [b"%d" % i for i in range(20)])
    p = TopicPartition(name, 0)
    async with consumer(group, name) as c:
        assert await c.committed(p) is None
        await take(c, 10)
        await c.commit({p: (10, "note")})
        assert await c.committed(p) == 10
    async with consumer(group, name) as c:
        assert (await take(c, 10))[0].offset == 10


async def commits_by_itself():
    name, group = await topic(), fresh("group")
    await produce(name, [b"x"] * 10)
    async with consumer(group, name, enable_auto_commit=True, auto_commit_interval_ms=100) as c:
        await take(c, 10)
    async with consumer(group, name) as c:
        assert await c.committed(TopicPartition(name, 0)) == 10


async def rebalances(assignor):
    name, group = await topic(6), fresh("group")
    config = {"partition_assignment_strategy": (assignor,)}
    async with consumer(group, name, **config) as a:
        await until("the first has not all", lambda: len(a.assignment()) == 6)
        async with consumer(group, name, **config) as b:
            await until("they do not share", lambda: len(a.assignment()) == 3 and len(b.assignment()) == 3)
            assert not a.assignment() & b.assignment()
        await until("the first did not get all back", lambda: len(a.assignment()) == 6)


async def range_rebalances():
    await rebalances(RangePartitionAssignor)


async def roundrobin_rebalances():
    await rebalances(RoundRobinPartitionAssignor)


async def sticky_rebalances():
    await rebalances(StickyPartitionAssignor)


async def a_listener_is_told():
    name, told = await topic(2), []

    class Listener(ConsumerRebalanceListener):
        def on_partitions_revoked(self, revoked):
            told.append(("revoked", len(revoked)))

        def on_partitions_assigned(self, assigned):
            told.append(("assigned", len(assigned)))
    c = consumer(fresh("group"))
    c.subscribe([name], listener=Listener())
    await c.start()
    await until("it was not told", lambda: ("assigned", 2) in told)
    await c.stop()


async def a_static_member_keeps_its_place():
    name, group = await topic(4), fresh("group")
    async with consumer(group, name, group_instance_id="second") as b:
        a = consumer(group, name, group_instance_id="first", session_timeout_ms=30000)
        await a.start()
        await until("they do not share", lambda: len(a.assignment()) == 2 and len(b.assignment()) == 2)
        before = a.assignment()
        await a.stop()
        async with consumer(group, name, group_instance_id="first", session_timeout_ms=30000) as a:
            await until("it did not come back", lambda: len(a.assignment()) == 2)
            assert a.assignment() == before


async def a_pattern_finds_new_topics():
    prefix = fresh("pattern")
    c = consumer(fresh("group"), metadata_max_age_ms=500)
    c.subscribe(pattern=f"^{prefix}-.*")
    async with Admin() as admin:
        await admin.create_topics([NewTopic(f"{prefix}-a", 1, 1)])
        await c.start()
        await produce(f"{prefix}-a", [b"x"])
        await take(c, 1)
        await c.commit()
        await admin.create_topics([NewTopic(f"{prefix}-b", 1, 1)])
        await produce(f"{prefix}-b", [b"y"])
        assert (await take(c, 1))[0].topic == f"{prefix}-b"
    await c.stop()


async def offsets_by_time():
    name = await topic()
    await produce(name, [b"a", b"b", b"c"], timestamps=[1577836800000, 1609459200000, 1704067200000])
    p = TopicPartition(name, 0)
    async with consumer(None) as c:
        c.assign([p])
        for when, offset in [(0, 0), (1577836800001, 1), (1609459200000, 1)]:
            assert (await c.offsets_for_times({p: when}))[p].offset == offset
        assert (await c.offsets_for_times({p: 1704067200001}))[p] is None
        assert await c.beginning_offsets([p]) == {p: 0} and await c.end_offsets([p]) == {p: 3}
        c.seek(p, 1)
        assert (await take(c, 2))[0].value == b"b"
        await c.seek_to_beginning(p)
        assert (await take(c, 1))[0].value == b"a"


async def topics_are_made_described_grown_and_deleted():
    name = await topic(2)
    async with Admin() as admin:
        res = await admin.create_topics([NewTopic(name, 2, 1)])
        assert res.topic_errors[0][1] == 36, res
        await admin.create_partitions({name: NewPartitions(5)})
        described = await admin.describe_topics([name])
        assert len(described[0]["partitions"]) == 5
        assert name in await admin.list_topics()
        assert len((await admin.describe_cluster())["brokers"]) == 1
        await admin.delete_topics([name])
        assert name not in await admin.list_topics()


async def configs_are_described_and_changed():
    name = await topic(retention_ms="1000")
    async with Admin() as admin:
        resource = ConfigResource(ConfigResourceType.TOPIC, name)

        async def value():
            res = await admin.describe_configs([resource])
            return {e[0]: e[1] for e in res[0].resources[0][4]}["retention.ms"]
        assert await value() == "1000"
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs={"retention.ms": "2000"})])
        assert await value() == "2000"


async def records_are_deleted():
    name = await topic()
    await produce(name, [b"x"] * 10)
    p = TopicPartition(name, 0)
    async with Admin() as admin:
        await admin.delete_records({p: RecordsToDelete(before_offset=4)})
    async with consumer(None) as c:
        c.assign([p])
        assert await c.beginning_offsets([p]) == {p: 4}


async def groups_are_listed_and_described():
    name, group = await topic(), fresh("group")
    await produce(name, [b"x"] * 3)
    async with consumer(group, name) as c:
        await take(c, 3)
        await c.commit()
        async with Admin() as admin:
            assert group in [g[0] for g in await admin.list_consumer_groups()]
            described = (await admin.describe_consumer_groups([group]))[0].groups[0]
            assert described[2] == "Stable" and len(described[5]) == 1, described
            offsets = await admin.list_consumer_group_offsets(group)
            assert offsets[TopicPartition(name, 0)].offset == 3
            assert await admin.find_coordinator(group) >= 0


async def main():
    checks = [f for f in list(globals().values()) if asyncio.iscoroutinefunction(f) and f.__code__.co_argcount == 0
              and not f.__code__.co_flags & 0x0c and f is not main]  # no arguments, *args or **kwargs
    for check in checks:
        try:
            await asyncio.wait_for(check(), 120)
            print("ok", check.__name__, flush=True)
        except (Exception, KafkaError) as error:
            traceback.print_exc()
            print(f"not ok {check.__name__}: {type(error).__name__} {error}".replace("\n", " "), flush=True)
    print("\nall tried")


asyncio.run(main())
