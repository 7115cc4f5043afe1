package dataco.connect;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dataco.clicks.Reason;
import dataco.clicks.Rejection;
import dataco.kafka.RejectedClick;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;

/** When too many are rejected. */
class RejectedShareTest {
    private final RejectedShare share = new RejectedShare("clicks", 0.5);

    @Test
    void ofAWindow() {
        assertDoesNotThrow(() -> share.check(1_000, rejected(500)));
        TooManyRejectedException tooMany =
                assertThrows(TooManyRejectedException.class, () -> share.check(1_000, rejected(501)));
        assertEquals(
                "501 of 1,000 messages of topic clicks are invalid, more than 50% (501 malformed_json; for example: no"
                        + " value). The producer has probably changed, so none of these was sent to the rejected topic"
                        + " and their offsets stay. If they really are to be rejected, set rejected.max.share to 1.0"
                        + " until they are.",
                tooMany.getMessage());
    }

    @Test
    void ofFewMessages() {
        assertDoesNotThrow(() -> share.check(999, rejected(999)));
    }

    @Test
    void ofSmallWindowsTogether() {
        share.note(900, 900);
        assertThrows(TooManyRejectedException.class, () -> share.check(100, rejected(100)));
    }

    @Test
    void beginsAnewOnceItWasJudged() {
        share.note(1_000, 400);
        share.note(500, 200);
        assertDoesNotThrow(() -> share.check(400, rejected(400)));
    }

    private static List<RejectedClick> rejected(int count) {
        Rejection rejection = new Rejection(Reason.MALFORMED_JSON, "no value");
        return Collections.nCopies(count, new RejectedClick("clicks", 0, 0, 0, null, null, List.of(), rejection));
    }
}
