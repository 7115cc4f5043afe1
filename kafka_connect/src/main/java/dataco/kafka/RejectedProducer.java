package dataco.kafka;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.InterruptException;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Writes rejected clicks to their topic, and returns only when all in-sync replicas have them. */
public final class RejectedProducer implements AutoCloseable {
    private static final int DELIVERY_MS = 60_000;
    private static final int REQUEST_MS = 20_000;
    private static final int LINGER_MS = 20;

    private final Producer<byte[], byte[]> producer;
    private final String topic;

    /** Connects when something is sent; the options are those of Kafka's clients. */
    public RejectedProducer(Map<String, Object> options, String topic) {
        Map<String, Object> config = new HashMap<>();
        config.put(ProducerConfig.COMPRESSION_TYPE_CONFIG, "lz4");
        config.put(ProducerConfig.LINGER_MS_CONFIG, LINGER_MS);
        config.putAll(options);
        // What the guarantees rest on; no option overrides it.
        config.put(ProducerConfig.ACKS_CONFIG, "all");
        config.put(ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, true);
        config.put(ProducerConfig.DELIVERY_TIMEOUT_MS_CONFIG, DELIVERY_MS);
        config.put(ProducerConfig.REQUEST_TIMEOUT_MS_CONFIG, REQUEST_MS);
        config.put(ProducerConfig.MAX_REQUEST_SIZE_CONFIG, Integer.MAX_VALUE); // the topic has a limit of its own
        this.producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
        this.topic = topic;
    }

    /**
     * Writes rejected clicks and waits until each is acknowledged.
     *
     * @param limitBytes the rejected topic's {@code max.message.bytes}
     * @throws BrokerException one of them was refused or not acknowledged in time; the others may be in the topic
     */
    public void write(List<RejectedClick> clicks, long limitBytes) throws BrokerException {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try {
            for (RejectedClick click : clicks) {
                sent.add(producer.send(RejectedRecords.of(click, topic, limitBytes)));
            }
            for (Future<RecordMetadata> acknowledged : sent) {
                acknowledged.get();
            }
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw BrokerException.of(new InterruptException(interrupted), topic);
        } catch (ExecutionException | KafkaException error) {
            throw BrokerException.of(error, topic);
        }
    }

    @Override
    public void close() {
        producer.close(Duration.ZERO);
    }
}
