package dataco.connect;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.junit.jupiter.api.Test;

/** What a message holds until it is durable: batches are bounded by it. */
class MessageTest {
    @Test
    void sizeIsThatOfValueKeyAndHeaders() {
        RecordHeader large = new RecordHeader("trace", new byte[1_000]);
        RecordHeader empty = new RecordHeader("flag", (byte[]) null);
        assertEquals(
                100 + 20 + 1_005 + 4,
                message(new byte[20], new byte[100], List.of(large, empty)).size());
        assertEquals(0, message(null, null, List.of()).size());
    }

    @Test
    void clickThatWasSentBackHasTheHeaderOfTheReplay() {
        RecordHeader origin = new RecordHeader("dataco.replay_of", "clicks/0/7".getBytes(StandardCharsets.US_ASCII));
        RecordHeader other = new RecordHeader("trace", new byte[1]);
        assertTrue(message(null, null, List.of(other, origin)).isReplayed());
        assertFalse(message(null, null, List.of(other)).isReplayed());
    }

    private static Message message(byte[] key, byte[] value, List<Header> headers) {
        return new Message(0, 0, 0, 0, key, value, headers);
    }
}
