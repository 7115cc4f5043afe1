package dataco.connect;

import dataco.clicks.RecordParser;
import dataco.failures.IngestException;
import dataco.hbase.SharedConnection;
import dataco.hbase.StoreException;
import dataco.kafka.BrokerException;
import dataco.kafka.RejectedProducer;
import dataco.kafka.Topics;
import dataco.ledgers.HourLedger;
import dataco.ledgers.OffsetLedger;
import dataco.ledgers.SuppressionList;
import dataco.registry.KnownSchemas;
import dataco.registry.RegistryAccess;
import dataco.registry.SchemaRegistry;
import java.time.Duration;
import java.util.Optional;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.kafka.common.KafkaException;

/** The clients of one task, and the parser of its messages, which knows the schemas it has asked for. */
record Servers(
        SharedConnection shared,
        OffsetLedger offsets,
        HourLedger hours,
        SuppressionList suppression,
        Topics topics,
        RejectedProducer rejected,
        RecordParser parser)
        implements AutoCloseable {

    /** Opens the clients; if one cannot be opened, the others are closed again. */
    static Servers open(ClickSinkConfig config) throws IngestException {
        Optional<RegistryAccess> registry = config.registry();
        RecordParser parser = new RecordParser(new KnownSchemas(
                registry.isEmpty() ? Optional.empty() : Optional.of(new SchemaRegistry(registry.get())),
                config.getString(ClickSinkConfig.WRITER_SCHEMAS)));
        SharedConnection shared = SharedConnection.of(config.hbaseOptions());
        try {
            return with(shared, parser, config);
        } catch (IngestException error) {
            shared.close();
            throw error;
        } catch (KafkaException error) { // no broker's name can be resolved, or an option is wrong
            shared.close();
            throw BrokerException.of(error, config.topic());
        }
    }

    private static Servers with(SharedConnection shared, RecordParser parser, ClickSinkConfig config)
            throws IngestException {
        Connection hbase = shared.connection();
        Duration kept = Duration.ofDays(config.getInt(ClickSinkConfig.TTL_DAYS));
        OffsetLedger offsets = new OffsetLedger(hbase, config.offsetsTable(), kept);
        HourLedger hours = new HourLedger(hbase, config.hoursTable());
        SuppressionList suppression = new SuppressionList(hbase, config.suppressedTable());
        Topics topics = new Topics(config.kafkaOptions());
        try {
            String topic = config.getString(ClickSinkConfig.REJECTED_TOPIC);
            RejectedProducer rejected = new RejectedProducer(config.kafkaOptions(), topic);
            return new Servers(shared, offsets, hours, suppression, topics, rejected, parser);
        } catch (KafkaException error) {
            topics.close();
            throw error;
        }
    }

    Connection hbase() {
        return shared.connection();
    }

    @Override
    public void close() throws StoreException {
        rejected.close();
        topics.close();
        shared.close(); // the ledgers' tables hold nothing of their own
    }
}
