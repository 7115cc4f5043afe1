package dataco.ledgers;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

/** For which generations a cause is told: the cases are those of the tests of {@code restating.py}. */
class CauseRangeTest {
    @Test
    void rangeKeepsItsStartUntilItIsPublishedAsAWhole() {
        assertEquals("5 5", CauseRange.of(null, 5).extended(5, 4).encode());
        assertEquals("5 6", CauseRange.of("5 5", 6).extended(6, 4).encode());
        assertEquals("5 7", CauseRange.of("5 6", 7).extended(7, 5).encode());
        assertEquals("9 9", CauseRange.of("5 5", 9).extended(9, 5).encode());
    }
}
