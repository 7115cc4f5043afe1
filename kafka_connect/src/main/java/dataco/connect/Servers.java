package dataco.connect;

import dataco.failures.IngestException;
import dataco.hbase.SharedConnection;
import dataco.hbase.StoreException;
import dataco.kafka.BrokerException;
import dataco.kafka.RejectedProducer;
import dataco.kafka.Topics;
import dataco.ledgers.HourLedger;
import dataco.ledgers.OffsetLedger;
import dataco.ledgers.SuppressionList;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.kafka.common.KafkaException;

/** The clients of one task. */
record Servers(
        SharedConnection shared,
        OffsetLedger offsets,
        HourLedger hours,
        SuppressionList suppression,
        Topics topics,
        RejectedProducer rejected)
        implements AutoCloseable {

    /** Opens the clients; if one cannot be opened, the others are closed again. */
    static Servers open(ClickSinkConfig config) throws IngestException {
        SharedConnection shared = SharedConnection.of(config.hbaseOptions());
        try {
            return with(shared, config);
        } catch (IngestException error) {
            shared.close();
            throw error;
        } catch (KafkaException error) { // no broker's name can be resolved, or an option is wrong
            shared.close();
            throw BrokerException.of(error, config.topic());
        }
    }

    private static Servers with(SharedConnection shared, ClickSinkConfig config) throws IngestException {
        Connection hbase = shared.connection();
        OffsetLedger offsets = new OffsetLedger(hbase, config.offsetsTable());
        HourLedger hours = new HourLedger(hbase, config.hoursTable());
        SuppressionList suppression = new SuppressionList(hbase, config.suppressedTable());
        Topics topics = new Topics(config.kafkaOptions());
        try {
            String topic = config.getString(ClickSinkConfig.REJECTED_TOPIC);
            RejectedProducer rejected = new RejectedProducer(config.kafkaOptions(), topic);
            return new Servers(shared, offsets, hours, suppression, topics, rejected);
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
