import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.processor.StateRestoreListener;

/**
 * Counts words, at least once, with two stores in RocksDB behind one repartition topic. "plain" is the usual count,
 * which counts again what is processed again after a crash. "exact" remembers for each input partition the last
 * position that it has counted and skips what it has seen: that makes the right end decidable when instances die in the
 * middle of their work.
 *
 * Arguments: bootstrap servers, state directory. A line of input is "partition:number word word ...".
 */
public class WordCount {
    public static void main(String[] args) {
        Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, "wordcount");
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        config.put(StreamsConfig.STATE_DIR_CONFIG, args[1]);
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.AT_LEAST_ONCE);
        config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 200);
        config.put("repartition.purge.interval.ms", 1000); // DeleteRecords on the repartition topic
        config.put("replication.factor", 1);
        config.put("session.timeout.ms", 6000);
        config.put("heartbeat.interval.ms", 1000);
        config.put("auto.offset.reset", "earliest");

        StreamsBuilder builder = new StreamsBuilder();
        KGroupedStream<String, String> words = builder.<String, String>stream("lines")
            .flatMap((key, line) -> split(line))
            .groupByKey(Grouped.as("words"));
        words.count(Materialized.as("plain")).toStream().mapValues(String::valueOf).to("plain");
        words.aggregate(() -> "0", (word, at, state) -> countOnce(at, state), Materialized.as("exact")).toStream()
            .mapValues(state -> state.split(" ")[0]).to("exact");

        KafkaStreams streams = new KafkaStreams(builder.build(), config);
        streams.setStateListener((now, before) -> System.out.println("state " + now));
        streams.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.setGlobalStateRestoreListener(new StateRestoreListener() {
            @Override
            public void onRestoreStart(TopicPartition partition, String store, long from, long to) {
            }

            @Override
            public void onBatchRestored(TopicPartition partition, String store, long to, long records) {
            }

            @Override
            public void onRestoreEnd(TopicPartition partition, String store, long records) {
                if (records > 0) {
                    System.out.println("restored " + store);
                }
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close();
            System.out.println("closed in state " + streams.state());
        }));
        streams.start();
    }

    /** Each word, with where it stands: "partition:position", positions growing within a partition. */
    private static List<KeyValue<String, String>> split(String line) {
        String[] parts = line.split(" ");
        String[] id = parts[0].split(":");
        List<KeyValue<String, String>> list = new ArrayList<>();
        for (int i = 1; i < parts.length; i++) {
            list.add(KeyValue.pair(parts[i], id[0] + ":" + (Long.parseLong(id[1]) * 1000 + i)));
        }
        return list;
    }

    /** The state is "count partition:position partition:position ...". */
    private static String countOnce(String at, String state) {
        String[] parts = state.split(" ");
        TreeMap<String, Long> seen = new TreeMap<>();
        for (int i = 1; i < parts.length; i++) {
            String[] p = parts[i].split(":");
            seen.put(p[0], Long.parseLong(p[1]));
        }
        String[] here = at.split(":");
        long position = Long.parseLong(here[1]);
        if (seen.getOrDefault(here[0], -1L) >= position) {
            return state;
        }
        seen.put(here[0], position);
        StringBuilder next = new StringBuilder(String.valueOf(Long.parseLong(parts[0]) + 1));
        seen.forEach((partition, last) -> next.append(' ').append(partition).append(':').append(last));
        return next.toString();
    }
}
