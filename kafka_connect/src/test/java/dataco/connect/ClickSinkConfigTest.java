package dataco.connect;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import dataco.registry.RegistryAccess;
import java.io.IOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigValue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The settings and their rules. */
class ClickSinkConfigTest {
    @Test
    void defaultsAndNames() {
        ClickSinkConfig config = new ClickSinkConfig(settings());
        assertEquals("p_clicks", config.clicksTable());
        assertEquals("p_ingest_offsets", config.offsetsTable());
        assertEquals("p_click_hours", config.hoursTable());
        assertEquals("p_suppressed_users", config.suppressedTable());
        assertEquals(1_767_225_600_000L, config.earliestMs());
        assertEquals("kafka:9092", config.kafkaOptions().get("bootstrap.servers"));
        assertEquals("SSL", config.kafkaOptions().get("security.protocol"));
        assertEquals("zookeeper:2181", config.hbaseOptions().get("hbase.zookeeper.quorum"));
        assertEquals("5", config.hbaseOptions().get("hbase.rpc.timeout"));
        assertFalse(config.hbaseOptions().containsKey("hbase.table.prefix"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"2026-01-01", "2026-01-01-00:00", "2026-01-31-23:00"})
    void hours(String text) {
        assertEquals(Set.of(), wrong("partitions.start", text));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "yesterday", "2026-02-30", "2026-01-01-00:30", "2026-01-01T00:00", "9999-01-01"})
    void noHours(String text) {
        assertEquals(Set.of("partitions.start"), wrong("partitions.start", text));
    }

    @ParameterizedTest
    @ValueSource(strings = {"kafka", "kafka:", "a:1,,b:2", "http://kafka:9092", ""})
    void noAddresses(String text) {
        assertEquals(Set.of("kafka.bootstrap.servers"), wrong("kafka.bootstrap.servers", text));
    }

    @Test
    void everySettingHasAGroupAndDocumentation() {
        for (ConfigDef.ConfigKey key : ClickSinkConfig.DEFINITION.configKeys().values()) {
            assertTrue(key.documentation.length() > 20, key.name);
            assertTrue(key.group != null && key.displayName != null, key.name);
        }
    }

    @Test
    void accessToARegistryIsAskedForOnlyWhereThereIsOne() {
        assertEquals(Set.of("schema.registry.url", "writer.schemas"), shownOfAvro());
        assertEquals(
                Set.of(
                        "schema.registry.url",
                        "writer.schemas",
                        "schema.registry.ca.file",
                        "schema.registry.username",
                        "schema.registry.token"),
                shownOfAvro("schema.registry.url", "https://registry:8081"));
        assertTrue(shownOfAvro("schema.registry.url", "https://registry:8081", "schema.registry.username", "me")
                .contains("schema.registry.password"));
    }

    /** Names of the settings of the group Avro that a form shows. */
    private static Set<String> shownOfAvro(String... given) {
        Map<String, String> settings = settings();
        for (int i = 0; i < given.length; i += 2) {
            settings.put(given[i], given[i + 1]);
        }
        return ClickSinkConfig.DEFINITION.validate(settings).stream()
                .filter(each -> each.visible()
                        && "Avro".equals(ClickSinkConfig.DEFINITION.configKeys().get(each.name()).group))
                .map(ConfigValue::name)
                .collect(Collectors.toSet());
    }

    @Test
    void surroundings() {
        assertEquals(Map.of(), Surroundings.problems(settings()));
        Map<String, String> several = settings();
        several.put("topics", "clicks,others");
        assertEquals(Set.of("topics"), Surroundings.problems(several).keySet());
        assertEquals(
                Set.of(
                        "topics",
                        "key.converter",
                        "value.converter",
                        "header.converter",
                        "consumer.override.isolation.level"),
                Surroundings.problems(Map.of()).keySet());
    }

    @Test
    void configurationInTheArchiveIsComplete() throws IOException {
        Map<String, String> given = new ObjectMapper()
                .readValue(Path.of("src", "assembly", "connector.json").toFile(), new TypeReference<>() {});
        assertEquals(Map.of(), Surroundings.problems(given));
        new ClickSinkConfig(given); // throws what is wrong or missing
        given.keySet().removeAll(ClickSinkConfig.DEFINITION.names());
        given.keySet().removeIf(name -> name.startsWith("consumer.override.") || name.endsWith(".converter"));
        assertEquals(Set.of("connector.class", "tasks.max", "topics"), given.keySet(), "settings of Connect itself");
        assertEquals(ClickSinkConnector.class.getName(), given.get("connector.class"));
    }

    @Test
    void registry() {
        assertTrue(new ClickSinkConfig(settings()).registry().isEmpty());
        Map<String, String> named = settings();
        named.put("schema.registry.url", "https://registry:8081/api/");
        named.put("schema.registry.token", "secret");
        RegistryAccess access = new ClickSinkConfig(named).registry().orElseThrow();
        assertEquals("https://registry:8081/api", access.url());
        assertEquals("secret", access.token());
        assertFalse(access.toString().contains("secret"));
        assertEquals(Set.of("schema.registry.url"), wrong("schema.registry.url", "http://me:secret@registry"));
        assertEquals(Map.of(), Surroundings.problems(named));
        named.put("schema.registry.username", "me");
        named.put("schema.registry.url", "http://registry:8081");
        named.put("schema.registry.ca.file", "/ca.pem");
        assertEquals(
                Set.of("schema.registry.username", "schema.registry.ca.file"),
                Surroundings.problems(named).keySet());
    }

    private static Set<String> wrong(String name, String value) {
        Map<String, String> settings = settings();
        settings.put(name, value);
        Map<String, String> found = new HashMap<>();
        ClickSinkConfig.DEFINITION.validate(settings).forEach(each -> {
            if (!each.errorMessages().isEmpty()) {
                found.put(each.name(), each.errorMessages().toString());
            }
        });
        return found.keySet();
    }

    private static Map<String, String> settings() {
        String converter = "org.apache.kafka.connect.converters.ByteArrayConverter";
        Map<String, String> settings = new HashMap<>();
        settings.put("topics", "clicks");
        settings.put("key.converter", converter);
        settings.put("value.converter", converter);
        settings.put("header.converter", converter);
        settings.put("consumer.override.isolation.level", "read_committed");
        settings.put("kafka.bootstrap.servers", "kafka:9092");
        settings.put("kafka.security.protocol", "SSL");
        settings.put("hbase.zookeeper.quorum", "zookeeper:2181");
        settings.put("hbase.table.prefix", "p_");
        settings.put("hbase.rpc.timeout", "5");
        return settings;
    }
}
