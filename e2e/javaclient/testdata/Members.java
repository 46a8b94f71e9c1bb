import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Members of groups: cooperative rebalancing and static membership, with Kafka's consumer. */
public class Members {
    private static String bootstrap;
    private static final int PARTITIONS = 6;

    /** One member, on a thread of its own. */
    static final class Member extends Thread implements ConsumerRebalanceListener {
        final Set<Integer> owned = new TreeSet<>(); // guarded by this
        final AtomicInteger assigned = new AtomicInteger();
        final AtomicInteger revoked = new AtomicInteger(); // partitions taken away while the member lived
        final AtomicInteger lost = new AtomicInteger();
        final Map<String, Integer> handled = new ConcurrentHashMap<>();
        volatile Throwable error;
        volatile int generation;
        private final KafkaConsumer<String, String> consumer;
        private volatile boolean stop;
        private boolean closing;

        Member(String group, String instance, String assignor) {
            Properties config = new Properties();
            config.put("bootstrap.servers", bootstrap);
            config.put("group.id", group);
            if (instance != null) {
                config.put("group.instance.id", instance);
            }
            config.put("partition.assignment.strategy", assignor);
            config.put("auto.offset.reset", "earliest");
            config.put("enable.auto.commit", "false");
            config.put("session.timeout.ms", 10000);
            config.put("heartbeat.interval.ms", 500);
            consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
            setDaemon(true);
            start();
        }

        @Override
        public void run() {
            try {
                consumer.subscribe(List.of("shared"), this);
                while (!stop) {
                    for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
                        handled.merge(record.value(), 1, Integer::sum);
                    }
                    generation = consumer.groupMetadata().generationId();
                    consumer.commitSync();
                }
            } catch (org.apache.kafka.common.errors.RebalanceInProgressException e) {
                run();
            } catch (Throwable e) {
                error = e;
            } finally {
                if (stop || error != null) {
                    closing = true;
                    consumer.close(CloseOptions.timeout(Duration.ofSeconds(10)));
                }
            }
        }

        void end() throws InterruptedException {
            stop = true;
            join(20000);
        }

        synchronized Set<Integer> owns() {
            return new TreeSet<>(owned);
        }

        @Override
        public synchronized void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            assigned.incrementAndGet();
            partitions.forEach(p -> owned.add(p.partition()));
        }

        @Override
        public synchronized void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            if (!closing) {
                revoked.addAndGet(partitions.size());
            }
            partitions.forEach(p -> owned.remove(p.partition()));
        }

        @Override
        public synchronized void onPartitionsLost(Collection<TopicPartition> partitions) {
            lost.addAndGet(partitions.size());
            partitions.forEach(p -> owned.remove(p.partition()));
        }
    }

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        try (Admin admin = Admin.create(config)) {
            admin.createTopics(List.of(new NewTopic("shared", PARTITIONS, (short) 1))).all().get();
            config.put("acks", "all");
            try (KafkaProducer<String, String> producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
                for (int i = 0; i < 600; i++) {
                    producer.send(new ProducerRecord<>("shared", i % PARTITIONS, null, "record " + i));
                }
            }
            cooperative();
            fixed(admin);
        }
        System.out.println("done");
        System.exit(0);
    }

    private static void await(String what, BooleanSupplier holds) throws InterruptedException {
        long deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
        while (!holds.getAsBoolean()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("not within a minute: " + what);
            }
            Thread.sleep(20);
        }
    }

    /** Whether each partition has one owner and each member its fair share. */
    private static boolean shared(Member... members) {
        List<Integer> all = new ArrayList<>();
        for (Member m : members) {
            Set<Integer> owns = m.owns();
            if (owns.size() < PARTITIONS / members.length) {
                return false;
            }
            all.addAll(owns);
        }
        Collections.sort(all);
        return all.toString().equals("[0, 1, 2, 3, 4, 5]");
    }

    private static void cooperative() {
        Check.check("cooperative-sticky: only what moves is revoked", () -> {
            String assignor = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
            Member one = new Member("together", null, assignor);
            await("one member owns all", () -> shared(one));
            Member two = new Member("together", null, assignor);
            await("two members share", () -> shared(one, two));
            Check.equal(3, one.revoked.get());
            Check.equal(0, two.revoked.get());
            Member three = new Member("together", null, assignor);
            await("three members share", () -> shared(one, two, three));
            Check.equal(5, one.revoked.get() + two.revoked.get() + three.revoked.get() + 0);
            three.end();
            await("two members share again", () -> shared(one, two));
            Check.equal(5, one.revoked.get() + two.revoked.get());
            await("all is handled", () -> one.handled.size() + two.handled.size() + three.handled.size() >= 600);
            Map<String, Integer> total = new HashMap<>();
            List.of(one, two, three).forEach(m -> m.handled.forEach((k, n) -> total.merge(k, n, Integer::sum)));
            Check.equal(600, total.size());
            for (Member m : List.of(one, two, three)) {
                Check.equal(null, m.error);
                Check.equal(0, m.lost.get());
            }
            one.end();
            two.end();
        });
    }

    private static void fixed(Admin admin) {
        String assignor = "org.apache.kafka.clients.consumer.RangeAssignor";
        Check.check("static membership: a member comes back to what it had, without a rebalance", () -> {
            Member one = new Member("fixed", "one", assignor);
            Member two = new Member("fixed", "two", assignor);
            await("two members share", () -> shared(one, two) && one.generation > 0 && one.generation == two.generation);
            int generation = one.generation;
            int rebalances = one.assigned.get();
            Set<Integer> had = two.owns();
            two.end(); // a static member does not say that it leaves
            Member again = new Member("fixed", "two", assignor);
            await("it is back", () -> again.owns().equals(had));
            Check.equal(generation, again.generation == 0 ? generation : again.generation);
            Check.equal(generation, one.generation);
            Check.equal(rebalances, one.assigned.get());

            Member impostor = new Member("fixed", "two", assignor);
            await("the older one is fenced", () -> again.error != null);
            Check.that(again.error instanceof FencedInstanceIdException, again.error);
            await("the newer one has what it had", () -> impostor.owns().equals(had));
            Check.equal(null, impostor.error);

            admin.removeMembersFromConsumerGroup("fixed", new RemoveMembersFromConsumerGroupOptions(Set.of(new MemberToRemove("one")))).all().get();
            await("the removed one is fenced or comes back", () -> one.error != null || one.generation > generation);
            impostor.end();
            one.end();
        });
        Check.check("static membership: offsets of the group stay", () -> {
            Map<TopicPartition, OffsetAndMetadata> offsets = admin.listConsumerGroupOffsets("fixed").partitionsToOffsetAndMetadata().get();
            Check.equal(PARTITIONS, offsets.size());
            offsets.forEach((tp, at) -> Check.equal(100, at.offset()));
        });
    }
}
