import java.io.File;
import java.nio.ByteBuffer;
import java.util.*;
import java.util.concurrent.ScheduledFuture;
import java.util.function.Supplier;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.Timer;
import org.apache.kafka.server.util.Scheduler;
import org.apache.kafka.storage.internals.log.*;
import org.apache.kafka.storage.internals.utils.Throttler;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

/**
 * Runs Apache Kafka's own log cleaner over a partition's folder and prints what is left.
 * Arguments: folder, segment bytes, delete.retention.ms, size of the key map, then rounds as from:to:now.
 */
public class Clean {
    static long now;

    static class Clock implements Time {
        public long milliseconds() { return now; }
        public long nanoseconds() { return now * 1000000; }
        public void sleep(long ms) { }
        public void waitObject(Object o, Supplier<Boolean> c, long d) { }
        public Timer timer(long ms) { return null; }
        public <T> T waitForFuture(java.util.concurrent.Future<T> f, long d) { return null; }
    }

    static class Never implements Scheduler {
        public void startup() { }
        public void shutdown() { }
        public ScheduledFuture<?> schedule(String n, Runnable r, long d, long p) { return null; }
        public void resizeThreadPool(int n) { }
    }

    static String hex(ByteBuffer b) {
        if (b == null) return "null";
        byte[] a = new byte[b.remaining()];
        b.duplicate().get(a);
        return "x" + HexFormat.of().formatHex(a);
    }

    static void print(UnifiedLog log) throws Exception {
        for (LogSegment s : log.logSegments()) {
            for (RecordBatch b : s.log().batches()) {
                b.ensureValid();
                int n = 0;
                StringBuilder records = new StringBuilder();
                for (Record r : b) {
                    n++;
                    records.append(String.format("record %d %d %s %s", r.offset(), r.timestamp(), hex(r.key()), hex(r.value())));
                    for (Header h : r.headers())
                        records.append(" ").append(h.key()).append("=").append(hex(h.value() == null ? null : ByteBuffer.wrap(h.value())));
                    records.append("\n");
                }
                System.out.printf("batch %d %d %d %s %d %d %d %b %b %d %s%n", b.baseOffset(), b.lastOffset(), n,
                    b.deleteHorizonMs().isPresent() ? b.deleteHorizonMs().getAsLong() : "-",
                    b.producerId(), b.producerEpoch(), b.baseSequence(), b.isTransactional(), b.isControlBatch(),
                    b.maxTimestamp(), n == 0 ? "-" : b.compressionType().name);
                System.out.print(records);
            }
        }
    }

    public static void main(String[] args) throws Exception {
        Map<String, Object> c = new HashMap<>();
        c.put("cleanup.policy", "compact");
        c.put("internal.segment.bytes", args[1]);
        c.put("delete.retention.ms", args[2]);
        now = Long.parseLong(args[4].split(":")[2]);
        UnifiedLog log = UnifiedLog.create(new File(args[0]), new LogConfig(c), 0L, 0L, new Never(), new BrokerTopicStats(),
            new Clock(), 1000000, new ProducerStateManagerConfig(Integer.MAX_VALUE, false), 1000000, new LogDirFailureChannel(1),
            false, Optional.empty());
        log.updateHighWatermark(log.logEndOffset());
        for (int i = 4; i < args.length; i++) {
            String[] r = args[i].split(":");
            now = Long.parseLong(r[2]);
            Cleaner cleaner = new Cleaner(0, new SkimpyOffsetMap(Integer.parseInt(args[3])), 65536, 1 << 20, 0.9,
                new Throttler(Double.MAX_VALUE, 300, "t", "e", new Clock()), new Clock(), p -> { });
            long end = cleaner.doClean(new LogToClean(log, Long.parseLong(r[0]), Long.parseLong(r[1]), false), now).getKey();
            System.out.printf("round %s to %d%n", args[i], end);
            print(log);
        }
    }
}
