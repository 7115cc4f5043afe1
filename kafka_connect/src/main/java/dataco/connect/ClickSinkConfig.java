package dataco.connect;

import dataco.registry.RegistryAccess;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.common.config.AbstractConfig;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigDef.Importance;
import org.apache.kafka.common.config.ConfigDef.Range;
import org.apache.kafka.common.config.ConfigDef.Type;
import org.apache.kafka.common.config.ConfigDef.Width;

/** The sink's configuration. */
final class ClickSinkConfig extends AbstractConfig {
    static final String BOOTSTRAP = "kafka.bootstrap.servers";
    static final String REJECTED_TOPIC = "rejected.topic";
    static final String START_GROUP = "start.group";
    static final String QUORUM = "hbase.zookeeper.quorum";
    static final String TABLE_PREFIX = "hbase.table.prefix";
    static final String TTL_DAYS = "clicks.ttl.days";
    static final String PARTITIONS_START = "partitions.start";
    static final String REGISTRY_URL = "schema.registry.url";
    static final String REGISTRY_USERNAME = "schema.registry.username";
    static final String REGISTRY_PASSWORD = "schema.registry.password";
    static final String REGISTRY_TOKEN = "schema.registry.token";
    static final String REGISTRY_CA_FILE = "schema.registry.ca.file";
    static final String WRITER_SCHEMAS = "writer.schemas";
    static final String MAX_REJECTED_SHARE = "rejected.max.share";
    static final String INTERVAL_MS = "checkpoint.interval.ms";
    static final String MAX_CLICKS = "checkpoint.max.clicks";
    static final String MAX_REJECTED_BYTES = "checkpoint.max.rejected.bytes";
    static final String RETRY_SECONDS = "retry.seconds";

    private static final String KAFKA_PREFIX = "kafka.";
    private static final List<String> HBASE_PREFIXES = List.of("hbase.", "hadoop.", "zookeeper.");
    private static final int MIB = 1 << 20;
    private static final int LONGEST_TTL_DAYS = 24_855; // HBase counts seconds in an int

    /** HBase's client gives up after this, so that Connect does not take the task for dead; each can be overridden. */
    private static final Map<String, String> PATIENCE = Map.of(
            "hbase.client.operation.timeout", "30000",
            "hbase.client.meta.operation.timeout", "30000",
            "hbase.client.scanner.timeout.period", "30000",
            "hbase.rpc.timeout", "10000",
            "zookeeper.recovery.retry", "5");

    private static final String KAFKA = "Kafka";
    private static final String HBASE = "HBase";
    private static final String CLICKS = "Clicks";
    private static final String AVRO = "Avro";
    private static final String CHECKPOINTS = "Checkpoints";

    /** What can be set, with documentation, rules and recommended values. */
    static final ConfigDef DEFINITION = definition();

    private final String topic;

    ClickSinkConfig(Map<String, String> properties) {
        super(DEFINITION, properties, false);
        this.topic = properties.get("topics").strip();
    }

    private static ConfigDef definition() {
        ConfigDef config = new ConfigDef();
        defineKafka(config);
        defineHbase(config);
        defineClicks(config);
        defineRegistry(config);
        defineCredentials(config);
        defineCheckpoints(config);
        return config;
    }

    private static void defineKafka(ConfigDef config) {
        config.define(
                BOOTSTRAP,
                Type.STRING,
                ConfigDef.NO_DEFAULT_VALUE,
                Rules.ADDRESSES,
                Importance.HIGH,
                "Brokers of the clicks topic, host:port, comma-separated: for topic metadata and rejected clicks. Further"
                        + " options of Kafka's clients begin with \"kafka.\" too, such as kafka.security.protocol.",
                KAFKA,
                1,
                Width.LONG,
                "Kafka brokers");
        config.define(
                REJECTED_TOPIC,
                Type.STRING,
                "clicks.rejected",
                Rules.NAME,
                Importance.HIGH,
                "Topic that keeps every rejected click, bytes unchanged (DATACO_REJECTED_TOPIC).",
                KAFKA,
                2,
                Width.MEDIUM,
                "Rejected topic",
                Recommended.values("clicks.rejected"));
        config.define(
                START_GROUP,
                Type.STRING,
                "dataco-raw-clicks",
                Rules.NAME,
                Importance.LOW,
                "Consumer group whose offsets count for partitions that the offset ledger does not know yet"
                        + " (DATACO_KAFKA_GROUP); without any, reading begins at the earliest offset.",
                KAFKA,
                3,
                Width.MEDIUM,
                "Group to start from");
    }

    private static void defineHbase(ConfigDef config) {
        config.define(
                QUORUM,
                Type.STRING,
                ConfigDef.NO_DEFAULT_VALUE,
                Rules.ADDRESSES,
                Importance.HIGH,
                "ZooKeeper servers through which HBase is found, host:port, comma-separated"
                        + " (DATACO_HBASE_ZOOKEEPER_QUORUM). Options of HBase's client (hbase.*, hadoop.*, zookeeper.*)"
                        + " are handed to it.",
                HBASE,
                1,
                Width.LONG,
                "ZooKeeper quorum");
        config.define(
                TABLE_PREFIX,
                Type.STRING,
                "",
                Rules.TABLE_PREFIX,
                Importance.MEDIUM,
                "Prefix of every HBase table name (DATACO_HBASE_TABLE_PREFIX).",
                HBASE,
                2,
                Width.SHORT,
                "Table prefix");
        config.define(
                TTL_DAYS,
                Type.INT,
                90,
                Range.between(1, LONGEST_TTL_DAYS),
                Importance.MEDIUM,
                "Days that a click is kept (DATACO_CLICKS_TTL_DAYS); the table is compared with it.",
                HBASE,
                3,
                Width.SHORT,
                "Days clicks are kept");
    }

    private static void defineClicks(ConfigDef config) {
        config.define(
                PARTITIONS_START,
                Type.STRING,
                "2026-01-01-00:00",
                Rules.HOUR,
                Importance.HIGH,
                "First hour, UTC, as YYYY-MM-DD or YYYY-MM-DD-HH:00 (DATACO_PARTITIONS_START). Older clicks are rejected.",
                CLICKS,
                1,
                Width.MEDIUM,
                "First hour",
                Recommended.values("2026-01-01-00:00"));
        config.define(
                MAX_REJECTED_SHARE,
                Type.DOUBLE,
                0.5,
                Range.between(0.0, 1.0),
                Importance.MEDIUM,
                "Maximum share of rejected clicks among at least 1,000 messages; a larger one fails the task"
                        + " (DATACO_INGEST_MAX_REJECTED_SHARE).",
                CLICKS,
                2,
                Width.SHORT,
                "Maximum rejected share",
                Recommended.values(0.05, 0.5, 1.0));
    }

    private static void defineRegistry(ConfigDef config) {
        config.define(
                REGISTRY_URL,
                Type.STRING,
                "",
                Rules.REGISTRY_URL,
                Importance.MEDIUM,
                "Schema registry of clicks in Avro, as http(s)://host:port, with the path of its API where it has one"
                        + " (DATACO_SCHEMA_REGISTRY_URL); empty: none.",
                AVRO,
                1,
                Width.LONG,
                "Schema registry",
                List.of(REGISTRY_USERNAME, REGISTRY_PASSWORD, REGISTRY_TOKEN, REGISTRY_CA_FILE));
        config.define(
                REGISTRY_CA_FILE,
                Type.STRING,
                "",
                Importance.LOW,
                "PEM file with the certificate of the authority that signed the registry's, for https://"
                        + " (DATACO_SCHEMA_REGISTRY_CA_FILE); empty: an authority that Java knows.",
                AVRO,
                5,
                Width.LONG,
                "Authority",
                Recommended.onlyWith(REGISTRY_URL));
        config.define(
                WRITER_SCHEMAS,
                Type.STRING,
                "",
                Importance.LOW,
                "Folder with the schemas (*.avsc) of producers that send Avro's single-object encoding"
                        + " (DATACO_WRITER_SCHEMAS); empty: only the contract's own.",
                AVRO,
                6,
                Width.LONG,
                "Writers' schemas");
    }

    private static void defineCredentials(ConfigDef config) {
        config.define(
                REGISTRY_USERNAME,
                Type.STRING,
                "",
                Importance.LOW,
                "User name for the registry (DATACO_SCHEMA_REGISTRY_USERNAME); empty: none.",
                AVRO,
                2,
                Width.MEDIUM,
                "User name",
                List.of(REGISTRY_PASSWORD),
                Recommended.onlyWith(REGISTRY_URL));
        config.define(
                REGISTRY_PASSWORD,
                Type.PASSWORD,
                "",
                Importance.LOW,
                "Password of that user (DATACO_SCHEMA_REGISTRY_PASSWORD).",
                AVRO,
                3,
                Width.MEDIUM,
                "Password",
                Recommended.onlyWith(REGISTRY_USERNAME));
        config.define(
                REGISTRY_TOKEN,
                Type.PASSWORD,
                "",
                Importance.LOW,
                "Bearer token for the registry, in place of user name and password (DATACO_SCHEMA_REGISTRY_TOKEN).",
                AVRO,
                4,
                Width.MEDIUM,
                "Token",
                Recommended.onlyWith(REGISTRY_URL));
    }

    private static void defineCheckpoints(ConfigDef config) {
        config.define(
                INTERVAL_MS,
                Type.INT,
                5_000,
                Range.between(100, 60_000),
                Importance.MEDIUM,
                "Time between two checkpoints, in milliseconds: so long after its arrival a click's hour is marked.",
                CHECKPOINTS,
                1,
                Width.SHORT,
                "Checkpoint interval",
                Recommended.values(1_000, 5_000, 30_000));
        config.define(
                MAX_CLICKS,
                Type.INT,
                100_000,
                Range.between(1_000, 1_000_000),
                Importance.LOW,
                "Messages after which a checkpoint is made earlier; they bound the task's memory.",
                CHECKPOINTS,
                2,
                Width.SHORT,
                "Messages per checkpoint");
        config.define(
                MAX_REJECTED_BYTES,
                Type.INT,
                16 * MIB,
                Range.between(MIB, 256 * MIB),
                Importance.LOW,
                "Bytes of rejected messages after which a checkpoint is made earlier; they are held until then.",
                CHECKPOINTS,
                3,
                Width.SHORT,
                "Rejected bytes per checkpoint");
        config.define(
                RETRY_SECONDS,
                Type.INT,
                300,
                Range.between(0, 86_400),
                Importance.MEDIUM,
                "How long the task tries again while HBase, Kafka or the registry is away, in seconds, before it fails.",
                CHECKPOINTS,
                4,
                Width.SHORT,
                "Seconds to retry");
    }

    String topic() {
        return topic;
    }

    String clicksTable() {
        return getString(TABLE_PREFIX) + "clicks";
    }

    String offsetsTable() {
        return getString(TABLE_PREFIX) + "ingest_offsets";
    }

    String hoursTable() {
        return getString(TABLE_PREFIX) + "click_hours";
    }

    String suppressedTable() {
        return getString(TABLE_PREFIX) + "suppressed_users";
    }

    /** How the schema registry is reached; empty when there is none. */
    Optional<RegistryAccess> registry() {
        if (getString(REGISTRY_URL).isEmpty()) {
            return Optional.empty();
        }
        return Optional.of(new RegistryAccess(
                getString(REGISTRY_URL),
                getString(REGISTRY_USERNAME),
                getPassword(REGISTRY_PASSWORD).value(),
                getPassword(REGISTRY_TOKEN).value(),
                getString(REGISTRY_CA_FILE)));
    }

    long earliestMs() {
        return Rules.hourMs(getString(PARTITIONS_START));
    }

    /** Options of Kafka's clients, with their own names. */
    Map<String, Object> kafkaOptions() {
        Map<String, Object> options = new HashMap<>(originalsWithPrefix(KAFKA_PREFIX));
        options.putIfAbsent("default.api.timeout.ms", "30000");
        return options;
    }

    /** Options of HBase's client, with their own names. */
    Map<String, String> hbaseOptions() {
        Map<String, String> options = new HashMap<>(PATIENCE);
        originalsStrings().forEach((name, value) -> {
            if (HBASE_PREFIXES.stream().anyMatch(name::startsWith) && !name.equals(TABLE_PREFIX)) {
                options.put(name, value);
            }
        });
        return options;
    }
}
