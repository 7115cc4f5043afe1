package dataco.connect;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** For how long a task tries again. */
class PatienceTest {
    private long seconds;
    private final Patience patience = new Patience(() -> TimeUnit.SECONDS.toNanos(seconds));

    @Test
    void endsAfterSomeTimeOfFailures() {
        assertTrue(patience.isLeft(120));
        seconds = 119;
        assertTrue(patience.isLeft(120));
        seconds = 120;
        assertFalse(patience.isLeft(120));
    }

    @Test
    void beginsAnewAfterACheckpoint() {
        assertTrue(patience.isLeft(120));
        seconds = 119;
        patience.succeeded();
        seconds = 200;
        assertTrue(patience.isLeft(120));
    }

    @Test
    void beginsAnewAfterALongCalm() {
        assertTrue(patience.isLeft(120));
        seconds = 3_600;
        assertTrue(patience.isLeft(120));
    }

    @Test
    void noneAtAll() {
        assertFalse(patience.isLeft(0));
    }
}
