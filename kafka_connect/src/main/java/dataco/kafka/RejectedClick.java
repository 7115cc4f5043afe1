package dataco.kafka;

import dataco.clicks.Rejection;
import java.util.List;
import org.apache.kafka.common.header.Header;

/**
 * A message that is not stored as a click, and why.
 *
 * @param topic topic it came from
 * @param partition its partition there
 * @param offset its offset there
 * @param recordTimeMs its Kafka record time, epoch ms; -1 when it has none
 * @param key its key; null when it has none
 * @param value its value; null for a tombstone
 * @param headers its own headers
 * @param rejection why it is rejected
 */
public record RejectedClick(
        String topic,
        int partition,
        long offset,
        long recordTimeMs,
        byte[] key,
        byte[] value,
        List<Header> headers,
        Rejection rejection) {

    /** Returns the bytes that the original holds in memory: value, key and headers. */
    public long size() {
        return length(value) + length(key) + RejectedRecords.bytesOf(headers);
    }

    private static long length(byte[] bytes) {
        return bytes == null ? 0 : bytes.length;
    }
}
