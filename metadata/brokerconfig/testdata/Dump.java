// Prints what Apache Kafka knows of its configs, one JSON object a line: the test data of packages brokerconfig and
// groupconfig. Run with the jars of a Kafka release on the class path:
//
//	java -cp '<jars>/*' Dump.java broker > kafka-4.3.1.jsonl
//	java -cp '<jars>/*' Dump.java group  > kafka-4.3.1.jsonl
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigDef.ConfigKey;
import org.apache.kafka.coordinator.group.GroupConfig;
import org.apache.kafka.server.config.AbstractKafkaConfig;
import org.apache.kafka.server.config.DynamicBrokerConfig;

public class Dump {
    public static void main(String[] args) {
        boolean group = args[0].equals("group");
        ConfigDef def = group ? GroupConfig.CONFIG_DEF : AbstractKafkaConfig.CONFIG_DEF;
        Map<String, String> modes = DynamicBrokerConfig.dynamicConfigUpdateModes();
        for (ConfigKey k : new TreeMap<>(def.configKeys()).values()) {
            List<String> out = new ArrayList<>();
            out.add("\"name\":" + quote(k.name));
            out.add("\"type\":" + quote(k.type.toString().toLowerCase()));
            out.add("\"default\":" + quote(k.hasDefault() ? text(k) : null));
            if (k.validator != null) out.add("\"validator\":" + quote(k.validator.toString()));
            out.add("\"importance\":" + quote(k.importance.toString().toLowerCase()));
            if (k.internalConfig) out.add("\"internal\":true");
            if (group) {
                Optional<String> s = GroupConfig.ALL_GROUP_CONFIG_SYNONYMS.get(k.name);
                out.add("\"synonym\":" + quote(s == null ? null : s.orElse(null)));
            } else {
                out.add("\"mode\":" + quote(modes.getOrDefault(k.name, "read-only")));
                List<String> names = new ArrayList<>();
                for (String s : DynamicBrokerConfig.brokerConfigSynonyms(k.name, true)) names.add(quote(s));
                out.add("\"synonyms\":[" + String.join(",", names) + "]");
            }
            System.out.println("{" + String.join(",", out) + "}");
        }
    }

    static String text(ConfigKey k) {
        return k.defaultValue == null ? null : ConfigDef.convertToString(k.defaultValue, k.type);
    }

    static String quote(String s) {
        if (s == null) return "null";
        StringBuilder b = new StringBuilder("\"");
        for (char c : s.toCharArray()) {
            if (c == '"' || c == '\\') b.append('\\').append(c);
            else if (c == '\n') b.append("\\n");
            else b.append(c);
        }
        return b.append('"').toString();
    }
}
