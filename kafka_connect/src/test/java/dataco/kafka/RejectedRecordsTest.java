package dataco.kafka;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import dataco.clicks.Reason;
import dataco.clicks.Rejection;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.junit.jupiter.api.Test;

/** Rejected records; {@code test_connect.py} compares them with the drain's. */
class RejectedRecordsTest {
    private static final byte[] VALUE = "no click".getBytes(StandardCharsets.UTF_8);
    private static final List<String> ABOUT = List.of(
            "dataco.reason=malformed_json",
            "dataco.detail=no value",
            "dataco.topic=clicks",
            "dataco.partition=3",
            "dataco.offset=47",
            "dataco.record_time=1000");

    @Test
    void keepsTheMessageAndSaysWhy() {
        ProducerRecord<byte[], byte[]> record = RejectedRecords.of(click(), "clicks.rejected", 100_000);
        assertEquals("clicks/3/47", new String(record.key(), StandardCharsets.UTF_8));
        assertArrayEquals(VALUE, record.value());
        List<String> expected = new ArrayList<>(ABOUT);
        // What a click brings along under a name of ours is left out.
        expected.addAll(List.of("dataco.key=k", "own=1", "own=null"));
        assertEquals(expected, headers(record));
    }

    @Test
    void keepsALargeMessageByReference() {
        ProducerRecord<byte[], byte[]> record = RejectedRecords.of(click(), "clicks.rejected", 1_024);
        assertNull(record.value());
        List<String> expected = new ArrayList<>(ABOUT);
        expected.addAll(List.of("dataco.value_bytes=8", "dataco.value_hash=eb19c55835667e55dd523646fc690032"));
        assertEquals(expected, headers(record));
    }

    private static RejectedClick click() {
        List<Header> headers = List.of(
                new RecordHeader("own", new byte[] {'1'}),
                new RecordHeader("dataco.reason", new byte[] {'x'}),
                new RecordHeader("own", (byte[]) null));
        return new RejectedClick(
                "clicks",
                3,
                47,
                1_000,
                new byte[] {'k'},
                VALUE,
                headers,
                new Rejection(Reason.MALFORMED_JSON, "no value"));
    }

    private static List<String> headers(ProducerRecord<byte[], byte[]> record) {
        List<String> texts = new ArrayList<>();
        for (Header header : record.headers()) {
            String value = header.value() == null ? "null" : new String(header.value(), StandardCharsets.UTF_8);
            texts.add(header.key() + "=" + value);
        }
        return texts;
    }
}
