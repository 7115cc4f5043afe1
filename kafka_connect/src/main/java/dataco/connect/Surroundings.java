package dataco.connect;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Rules that no setting keeps alone. Most are about Connect's own, on which the sink's promises rest: it must get every
 * committed message, with the bytes that the producer sent.
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
        addRegistryProblems(properties, found);
        return found;
    }

    private static void addRegistryProblems(Map<String, String> properties, Map<String, String> found) {
        boolean encrypted =
                properties.getOrDefault(ClickSinkConfig.REGISTRY_URL, "").startsWith("https://");
        if (isSet(properties, ClickSinkConfig.REGISTRY_CA_FILE) && !encrypted) {
            found.put(
                    ClickSinkConfig.REGISTRY_CA_FILE,
                    "must be empty unless " + ClickSinkConfig.REGISTRY_URL
                            + " begins with https://: nothing would be encrypted");
        }
        if (isSet(properties, ClickSinkConfig.REGISTRY_USERNAME) && isSet(properties, ClickSinkConfig.REGISTRY_TOKEN)) {
            found.put(
                    ClickSinkConfig.REGISTRY_USERNAME,
                    "must be empty when " + ClickSinkConfig.REGISTRY_TOKEN + " is set: keep one of them");
        }
    }

    private static boolean isSet(Map<String, String> properties, String name) {
        return !properties.getOrDefault(name, "").isEmpty();
    }
}
