package dataco.kafka;

import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InterruptException;

/** Metadata calls to Kafka, each with the deadline that the client's configuration sets. */
public final class Topics implements AutoCloseable {
    private final Admin admin;

    /** Connects when it is first asked; the options are those of Kafka's clients. */
    public Topics(Map<String, Object> options) {
        admin = Admin.create(options);
    }

    @Override
    public void close() {
        admin.close(Duration.ZERO);
    }

    /** Returns a topic's id and partitions. */
    public TopicState state(String topic) throws BrokerException {
        TopicDescription found = result(admin.describeTopics(List.of(topic)).allTopicNames(), topic)
                .get(topic);
        return new TopicState(
                topic,
                idOf(found.topicId()),
                found.partitions().stream().map(TopicPartitionInfo::partition).collect(Collectors.toSet()));
    }

    /** Returns what the logs of some partitions hold. */
    public Map<Integer, LogRange> logs(String topic, Collection<Integer> partitions) throws BrokerException {
        Map<Integer, Long> earliest = earliest(topic, partitions);
        Map<Integer, Long> ends = offsets(topic, partitions, OffsetSpec.latest());
        return partitions.stream()
                .collect(Collectors.toMap(Function.identity(), p -> new LogRange(earliest.get(p), ends.get(p))));
    }

    /** Returns the first offset still kept of some partitions. */
    public Map<Integer, Long> earliest(String topic, Collection<Integer> partitions) throws BrokerException {
        return offsets(topic, partitions, OffsetSpec.earliest());
    }

    /** Returns the offsets that a group has committed; partitions without one are left out. */
    public Map<Integer, Long> committed(String group, String topic) throws BrokerException {
        Map<TopicPartition, OffsetAndMetadata> found =
                result(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata(), "group " + group);
        Map<Integer, Long> offsets = new HashMap<>();
        found.forEach((partition, offset) -> {
            if (partition.topic().equals(topic) && offset != null) {
                offsets.put(partition.partition(), offset.offset());
            }
        });
        return offsets;
    }

    /** Returns a topic's {@code max.message.bytes}: the largest message that brokers accept. */
    public long messageLimitBytes(String topic) throws BrokerException {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        return Long.parseLong(result(admin.describeConfigs(List.of(resource)).all(), topic)
                .get(resource)
                .get("max.message.bytes")
                .value());
    }

    /** An id as librdkafka, and so the drain, writes it: in plain Base64, while Kafka's own text is safe in URLs. */
    static String idOf(Uuid id) {
        return id.toString().replace('-', '+').replace('_', '/');
    }

    private Map<Integer, Long> offsets(String topic, Collection<Integer> partitions, OffsetSpec spec)
            throws BrokerException {
        Map<TopicPartition, OffsetSpec> asked =
                partitions.stream().collect(Collectors.toMap(p -> new TopicPartition(topic, p), p -> spec));
        ListOffsetsOptions options = new ListOffsetsOptions(IsolationLevel.READ_UNCOMMITTED);
        Map<Integer, Long> found = new HashMap<>();
        result(admin.listOffsets(asked, options).all(), topic)
                .forEach((partition, info) -> found.put(partition.partition(), info.offset()));
        return found;
    }

    private static <T> T result(KafkaFuture<T> future, String what) throws BrokerException {
        try {
            return future.get();
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw BrokerException.of(new InterruptException(interrupted), what);
        } catch (ExecutionException error) {
            throw BrokerException.of(error, what);
        }
    }
}
