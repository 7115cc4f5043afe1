package dataco.connect;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Settings of Connect itself on which the sink's promises rest: it must get every committed message, with the bytes that
 * the producer sent.
 */
final class Surroundings {
    static final String TOPICS = "topics";

    private static final String CONVERTER = "ByteArrayConverter";
    private static final String ISOLATION = "consumer.override.isolation.level";
    private static final String COMMITTED = "read_committed";

    private Surroundings() {}

    /** Returns what is wrong, by the setting's name. */
    static Map<String, String> problems(Map<String, String> properties) {
        Map<String, String> found = new LinkedHashMap<>();
        String topics = properties.getOrDefault(TOPICS, "").strip();
        if (topics.isEmpty() || topics.contains(",")) {
            found.put(TOPICS, "must be one topic, the clicks topic (DATACO_CLICKS_TOPIC)");
        }
        for (String converter : new String[] {"key.converter", "value.converter", "header.converter"}) {
            if (!properties.getOrDefault(converter, "").endsWith(CONVERTER)) {
                found.put(
                        converter,
                        "must be org.apache.kafka.connect.converters.ByteArrayConverter: the sink decodes clicks itself,"
                                + " and rejected ones keep their bytes");
            }
        }
        if (!COMMITTED.equals(properties.get(ISOLATION))) {
            found.put(
                    ISOLATION,
                    "must be read_committed, or clicks of transactions that were rolled back would be stored");
        }
        if (!"none".equals(properties.getOrDefault("errors.tolerance", "none"))) {
            found.put("errors.tolerance", "must be none: the sink itself sends what is no click to the rejected topic");
        }
        if (!properties.getOrDefault("transforms", "").isBlank()) {
            found.put("transforms", "must be empty: a transformation could drop or change clicks unnoticed");
        }
        return found;
    }
}
