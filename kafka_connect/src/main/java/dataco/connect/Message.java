package dataco.connect;

import dataco.clicks.Framing;
import dataco.clicks.Rejection;
import dataco.kafka.RejectedClick;
import java.util.List;
import org.apache.kafka.common.header.Header;

/**
 * A message of the clicks topic.
 *
 * @param partition its partition
 * @param offset its offset there
 * @param recordTimeMs when Kafka took it, epoch ms; -1 for a producer so old that it gives no time
 * @param arrivedMs the same, or now
 * @param key its key; may be null
 * @param value its value; null for a tombstone
 * @param headers its headers
 */
record Message(
        int partition, long offset, long recordTimeMs, long arrivedMs, byte[] key, byte[] value, List<Header> headers) {
    private static final String REPLAY_OF = "dataco.replay_of";

    Place place() {
        return new Place(partition, offset);
    }

    /** Bytes that it holds in memory, roughly: value, key and headers, each of which a producer may make large. */
    long size() {
        long bytes = length(value) + length(key);
        for (Header header : headers) {
            bytes += header.key().length() + length(header.value());
        }
        return bytes;
    }

    /** Whether it was rejected before and sent back ({@code dataco rejected replay}). */
    boolean isReplayed() {
        return headers.stream().anyMatch(header -> header.key().equals(REPLAY_OF) && header.value() != null);
    }

    private static long length(byte[] bytes) {
        return bytes == null ? 0 : bytes.length;
    }

    /** What names the schema of the value; null when no header does. */
    byte[] schemaHeader() {
        return schemaHeader(headers);
    }

    /** The same of the headers of any message. */
    static byte[] schemaHeader(List<Header> headers) {
        byte[] found = null;
        for (Header header : headers) {
            found = header.key().equals(Framing.SCHEMA_HEADER) ? header.value() : found;
        }
        return found;
    }

    RejectedClick rejected(String topic, Rejection rejection) {
        return new RejectedClick(topic, partition, offset, recordTimeMs, key, value, headers, rejection);
    }
}
