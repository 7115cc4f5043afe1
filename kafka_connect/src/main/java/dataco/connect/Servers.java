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
final class Servers implements AutoCloseable {
    private final SharedConnection shared;
    private final OffsetLedger offsets;
    private final HourLedger hours;
    private final SuppressionList suppression;
    private final Topics topics;
    private final RejectedProducer rejected;

    Servers(ClickSinkConfig config) throws IngestException {
        shared = SharedConnection.of(config.hbaseOptions());
        Connection hbase = shared.connection();
        offsets = new OffsetLedger(hbase, config.offsetsTable());
        hours = new HourLedger(hbase, config.hoursTable());
        suppression = new SuppressionList(hbase, config.suppressedTable());
        try {
            topics = new Topics(config.kafkaOptions());
            rejected = new RejectedProducer(config.kafkaOptions(), config.getString(ClickSinkConfig.REJECTED_TOPIC));
        } catch (KafkaException error) { // no broker's name can be resolved, or an option is wrong
            throw BrokerException.of(error, config.topic());
        }
    }

    Connection hbase() {
        return shared.connection();
    }

    OffsetLedger offsets() {
        return offsets;
    }

    HourLedger hours() {
        return hours;
    }

    SuppressionList suppression() {
        return suppression;
    }

    Topics topics() {
        return topics;
    }

    RejectedProducer rejected() {
        return rejected;
    }

    @Override
    public void close() throws StoreException {
        rejected.close();
        topics.close();
        shared.close(); // the ledgers' tables hold nothing of their own
    }
}
