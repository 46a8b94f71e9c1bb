// What a user of kafkajs does with a broker: one function a check, against the broker named on the command line.
const assert = require('node:assert')
const crypto = require('node:crypto')
const {Kafka, logLevel, CompressionTypes, PartitionAssigners, ConfigResourceTypes} = require('kafkajs')

const kafka = new Kafka({clientId: 'checks', brokers: [process.argv[2]], logLevel: logLevel.NOTHING, retry: {retries: 3}})
const fresh = prefix => `${prefix}-${crypto.randomBytes(6).toString('hex')}`
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

async function until(what, condition) {
  for (let i = 0; i < 400; i++) {
    if (await condition()) return
    await sleep(100)
  }
  assert.fail(what)
}

async function withAdmin(f) {
  const admin = kafka.admin()
  await admin.connect()
  try {
    return await f(admin)
  } finally {
    await admin.disconnect()
  }
}

async function topic(numPartitions = 1, config = {}) {
  const name = fresh('checks')
  const configEntries = Object.entries(config).map(([name, value]) => ({name, value}))
  await withAdmin(a => a.createTopics({waitForLeaders: true, topics: [{topic: name, numPartitions, replicationFactor: 1, configEntries}]}))
  return name
}

async function produce(name, messages, {compression, ...config} = {}) {
  const producer = kafka.producer(config)
  await producer.connect()
  try {
    return await producer.send({topic: name, messages, compression})
  } finally {
    await producer.disconnect()
  }
}

// member joins a group and keeps what it reads and is assigned.
async function member(groupId, name, config = {}, autoCommit = false) {
  const consumer = kafka.consumer({groupId, sessionTimeout: 10000, heartbeatInterval: 500, rebalanceTimeout: 10000, ...config})
  const seen = {consumer, messages: [], assigned: []}
  consumer.on(consumer.events.GROUP_JOIN, e => { seen.assigned = e.payload.memberAssignment[name] ?? [] })
  await consumer.connect()
  await consumer.subscribe({topics: [name], fromBeginning: true})
  await consumer.run({autoCommit, eachMessage: async ({partition, message}) => { seen.messages.push({partition, ...message}) }})
  return seen
}

const values = n => Array.from({length: n}, (_, i) => ({key: `k${i}`, value: `value ${i}`, headers: {h: 'x'}}))

async function refused(code, call) {
  await assert.rejects(call, e => {
    const all = [e, ...(e.errors ?? []), ...(e.groups ?? []).map(g => g.error)]
    return all.some(x => x.type === code || (x.details ?? []).some(d => d.type === code)) || assert.fail(`${e.type}: ${e.message}`)
  })
}

const checks = {
  async produced_with_each_codec_comes_back() { // kafkajs itself brings gzip
    const name = await topic()
    await produce(name, values(50), {compression: CompressionTypes.None})
    await produce(name, values(50), {compression: CompressionTypes.GZIP})
    const m = await member(fresh('group'), name)
    await until('not all came', () => m.messages.length === 100)
    assert.deepStrictEqual(m.messages.map(x => x.offset), Array.from({length: 100}, (_, i) => `${i}`))
    assert.strictEqual(m.messages[99].value.toString(), 'value 49')
    assert.strictEqual(m.messages[0].headers.h.toString(), 'x')
    await m.consumer.disconnect()
  },
  async acks_of_every_kind() {
    const name = await topic()
    const producer = kafka.producer()
    await producer.connect()
    for (const acks of [0, 1, -1]) await producer.send({topic: name, acks, messages: values(5)})
    await until('not all came', () => withAdmin(async a => (await a.fetchTopicOffsets(name))[0].high === '15'))
    await producer.disconnect()
  },
  async idempotent_producer() {
    const name = await topic(3)
    await produce(name, values(500), {idempotent: true, maxInFlightRequests: 1})
    const ends = await withAdmin(a => a.fetchTopicOffsets(name))
    assert.strictEqual(ends.reduce((n, p) => n + Number(p.high), 0), 500)
  },
  async too_large_a_record_is_refused() {
    const name = await topic(1, {'max.message.bytes': '2000'})
    await refused('MESSAGE_TOO_LARGE', () => produce(name, [{value: 'x'.repeat(5000)}]))
  },
  async a_group_commits_and_resumes() {
    const name = await topic(), group = fresh('group')
    await produce(name, values(20))
    const a = await member(group, name)
    await until('not all came', () => a.messages.length === 20)
    await a.consumer.commitOffsets([{topic: name, partition: 0, offset: '12', metadata: 'note'}])
    await a.consumer.disconnect()
    const stored = await withAdmin(admin => admin.fetchOffsets({groupId: group, topics: [name]}))
    assert.deepStrictEqual(stored[0].partitions[0], {partition: 0, offset: '12', metadata: 'note'})
    const b = await member(group, name)
    await until('the rest did not come', () => b.messages.length === 8)
    assert.strictEqual(b.messages[0].offset, '12')
    await b.consumer.disconnect()
    const never = await withAdmin(admin => admin.fetchOffsets({groupId: fresh('group'), topics: [name]}))
    assert.strictEqual(never[0].partitions[0].offset, '-1')
  },
  async commits_by_itself() {
    const name = await topic(), group = fresh('group')
    await produce(name, values(10))
    const m = await member(group, name, {}, true)
    await until('not all came', () => m.messages.length === 10)
    await m.consumer.disconnect()
    const stored = await withAdmin(admin => admin.fetchOffsets({groupId: group, topics: [name]}))
    assert.strictEqual(stored[0].partitions[0].offset, '10')
  },
  async members_share_and_take_over() {
    const name = await topic(6), group = fresh('group')
    const partitionAssigners = [PartitionAssigners.roundRobin]
    const a = await member(group, name, {partitionAssigners})
    await until('the first has not all', () => a.assigned.length === 6)
    const b = await member(group, name, {partitionAssigners})
    await until('they do not share', () => a.assigned.length === 3 && b.assigned.length === 3)
    assert.strictEqual(new Set([...a.assigned, ...b.assigned]).size, 6)
    await b.consumer.disconnect()
    await until('the first did not get all back', () => a.assigned.length === 6)
    await a.consumer.disconnect()
  },
  async seeks_pauses_and_resumes() {
    const name = await topic()
    await produce(name, values(10))
    const m = await member(fresh('group'), name)
    await until('not all came', () => m.messages.length === 10)
    m.consumer.seek({topic: name, partition: 0, offset: '7'})
    await until('the sought did not come', () => m.messages.length === 13)
    assert.strictEqual(m.messages[10].offset, '7')
    m.consumer.pause([{topic: name}])
    m.consumer.resume([{topic: name}])
    await produce(name, values(1))
    await until('the last did not come', () => m.messages.at(-1).offset === '10')
    await m.consumer.disconnect()
  },
  async offsets_by_time() {
    const name = await topic()
    await produce(name, [1577836800000, 1609459200000, 1704067200000].map(t => ({value: 'x', timestamp: `${t}`})))
    await withAdmin(async admin => {
      assert.strictEqual((await admin.fetchTopicOffsetsByTimestamp(name, 1577836800001))[0].offset, '1')
      assert.deepStrictEqual((await admin.fetchTopicOffsets(name))[0], {partition: 0, offset: '3', high: '3', low: '0'})
    })
  },
  async topics_are_made_described_grown_and_deleted() {
    const name = await topic(2)
    await withAdmin(async admin => {
      assert.strictEqual(await admin.createTopics({topics: [{topic: name}]}), false)
      await refused('INVALID_REPLICATION_FACTOR', () => admin.createTopics({topics: [{topic: fresh('x'), numPartitions: 1, replicationFactor: 3}]}))
      await admin.createPartitions({topicPartitions: [{topic: name, count: 5}]})
      const described = await admin.fetchTopicMetadata({topics: [name]})
      assert.strictEqual(described.topics[0].partitions.length, 5)
      assert.ok((await admin.listTopics()).includes(name))
      await admin.deleteTopics({topics: [name]})
      assert.ok(!(await admin.listTopics()).includes(name))
      const cluster = await admin.describeCluster()
      assert.strictEqual(cluster.brokers.length, 1)
    })
  },
  async configs_are_described_and_changed() {
    const name = await topic(1, {'retention.ms': '1000'})
    await withAdmin(async admin => {
      const resource = {type: ConfigResourceTypes.TOPIC, name}
      const value = async () => (await admin.describeConfigs({includeSynonyms: true, resources: [{...resource, configNames: ['retention.ms']}]}))
        .resources[0].configEntries[0].configValue
      assert.strictEqual(await value(), '1000')
      await admin.alterConfigs({resources: [{...resource, configEntries: [{name: 'retention.ms', value: '2000'}]}]})
      assert.strictEqual(await value(), '2000')
    })
  },
  async records_are_deleted() {
    const name = await topic()
    await produce(name, values(10))
    await withAdmin(async admin => {
      assert.strictEqual((await admin.fetchTopicOffsets(name))[0].low, '0') // kafkajs deletes only where it knows the topic
      await admin.deleteTopicRecords({topic: name, partitions: [{partition: 0, offset: '4'}]})
      assert.strictEqual((await admin.fetchTopicOffsets(name))[0].low, '4')
    })
  },
  async groups_are_listed_described_altered_and_deleted() {
    const name = await topic(), group = fresh('group')
    await produce(name, values(5))
    const m = await member(group, name)
    await until('not all came', () => m.messages.length === 5)
    await withAdmin(async admin => {
      assert.ok((await admin.listGroups()).groups.some(g => g.groupId === group && g.protocolType === 'consumer'))
      const [described] = (await admin.describeGroups([group])).groups
      assert.strictEqual(described.state, 'Stable')
      assert.strictEqual(described.members.length, 1)
      await refused('NON_EMPTY_GROUP', () => admin.deleteGroups([group]))
      await m.consumer.disconnect()
      await admin.setOffsets({groupId: group, topic: name, partitions: [{partition: 0, offset: '2'}]})
      assert.strictEqual((await admin.fetchOffsets({groupId: group, topics: [name]}))[0].partitions[0].offset, '2')
      await admin.resetOffsets({groupId: group, topic: name, earliest: true})
      assert.strictEqual((await admin.fetchOffsets({groupId: group, topics: [name], resolveOffsets: true}))[0].partitions[0].offset, '0')
      await admin.deleteGroups([group])
      assert.ok(!(await admin.listGroups()).groups.some(g => g.groupId === group))
    })
  },
}

async function main() {
  for (const [name, check] of Object.entries(checks)) {
    try {
      await Promise.race([check(), sleep(120000).then(() => assert.fail('it takes too long'))])
      console.log(`ok ${name}`)
    } catch (error) {
      console.error(error)
      console.log(`not ok ${name}: ${String(error.message).replaceAll('\n', ' ')}`)
    }
  }
  console.log('\nall tried')
  process.exit(0)
}

main()
