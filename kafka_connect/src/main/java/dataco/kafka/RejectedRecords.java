package dataco.kafka;

import dataco.clicks.Hashes;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

/** The form of a record of the rejected topic: the same as the drain's ({@code dataco_assets/rejected/records.py}). */
final class RejectedRecords {
    private static final String KEY = "dataco.key";
    private static final String VALUE_BYTES = "dataco.value_bytes";
    private static final String VALUE_HASH = "dataco.value_hash";

    /** Headers of ours, which no click can bring along. */
    private static final Set<String> OWN = Set.of(
            "dataco.reason",
            "dataco.detail",
            "dataco.topic",
            "dataco.partition",
            "dataco.offset",
            "dataco.record_time",
            KEY,
            VALUE_BYTES,
            VALUE_HASH);

    private static final int OVERHEAD_BYTES = 1024; // of a record and its batch, generously

    private RejectedRecords() {}

    /**
     * Returns the record of a rejected click.
     *
     * @param limitBytes the rejected topic's {@code max.message.bytes}; a larger record is kept by reference
     */
    static ProducerRecord<byte[], byte[]> of(RejectedClick click, String rejectedTopic, long limitBytes) {
        List<Header> about = about(click);
        List<Header> headers = new ArrayList<>(about);
        if (click.key() != null) {
            headers.add(new RecordHeader(KEY, click.key()));
        }
        click.headers().stream().filter(header -> !OWN.contains(header.key())).forEach(headers::add);
        byte[] value = click.value();
        if (click.size() + bytesOf(headers) + OVERHEAD_BYTES > limitBytes) {
            byte[] original = value == null ? new byte[0] : value;
            headers = about;
            headers.add(header(VALUE_BYTES, Integer.toString(original.length)));
            headers.add(header(VALUE_HASH, Hashes.hexOf(original)));
            value = null;
        }
        String key = click.topic() + "/" + click.partition() + "/" + click.offset();
        return new ProducerRecord<>(rejectedTopic, null, null, utf8(key), value, headers);
    }

    static long bytesOf(List<Header> headers) {
        long bytes = 0;
        for (Header header : headers) {
            bytes += header.key().length() + (header.value() == null ? 0 : header.value().length);
        }
        return bytes;
    }

    private static List<Header> about(RejectedClick click) {
        List<Header> headers = new ArrayList<>();
        headers.add(header("dataco.reason", click.rejection().reason().code()));
        headers.add(header("dataco.detail", click.rejection().detail()));
        headers.add(header("dataco.topic", click.topic()));
        headers.add(header("dataco.partition", Integer.toString(click.partition())));
        headers.add(header("dataco.offset", Long.toString(click.offset())));
        headers.add(header("dataco.record_time", Long.toString(click.recordTimeMs())));
        return headers;
    }

    private static Header header(String name, String text) {
        return new RecordHeader(name, utf8(text));
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
