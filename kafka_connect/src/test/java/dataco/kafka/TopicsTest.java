package dataco.kafka;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.apache.kafka.common.Uuid;
import org.junit.jupiter.api.Test;

/** What the offset ledger holds of a topic must be the same from both languages. */
class TopicsTest {
    @Test
    void idsAreWrittenAsTheDrainWritesThem() {
        assertEquals("H4/bUFnGRZu3wil4ilyO+g", Topics.idOf(Uuid.fromString("H4_bUFnGRZu3wil4ilyO-g")));
    }
}
