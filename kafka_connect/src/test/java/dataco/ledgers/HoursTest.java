package dataco.ledgers;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

/** Which hours a click touches, and how they are named. */
class HoursTest {
    private static final long NOON = 1_591_012_800_000L;
    private static final long HALF = 1_800_000;

    @Test
    void names() {
        assertEquals("2020-06-01-12:00", Hours.key(NOON));
        assertEquals("1970-01-01-00:00", Hours.key(0));
    }

    @Test
    void bordersOfTheHalfHours() {
        assertEquals(NOON - Hours.HOUR_MS, Hours.neighbourOf(NOON));
        assertEquals(NOON - Hours.HOUR_MS, Hours.neighbourOf(NOON + HALF - 1));
        assertEquals(NOON + Hours.HOUR_MS, Hours.neighbourOf(NOON + HALF));
        assertEquals(NOON, Hours.hourOf(NOON + Hours.HOUR_MS - 1));
        assertEquals(NOON + HALF, Hours.spanOf(NOON + Hours.HOUR_MS - 1));
    }

    @Test
    void lowWaterMark() {
        assertEquals("0 1", LowWater.of(null).loweredTo(NOON).encode());
        assertEquals("5 8", LowWater.of("9 7").loweredTo(5).encode());
        assertEquals("9 8", LowWater.of("9 7").loweredTo(12).encode());
    }
}
