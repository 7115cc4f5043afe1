package dataco.ledgers;

import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.List;

/** Hours of clicks: their starts, their names, and which of them a click can change. Epoch ms, UTC. */
public final class Hours {
    /** Length of an hour. */
    static final long HOUR_MS = 3_600_000;

    /** Maximum gap between two clicks of a visit, and so how far an hour depends on the clicks around it. */
    static final long VISIT_GAP_MS = 1_800_000;

    private static final DateTimeFormatter KEY =
            DateTimeFormatter.ofPattern("uuuu-MM-dd-HH:mm").withZone(ZoneOffset.UTC);

    private Hours() {}

    /** Returns the start of the hour that a time is in. */
    static long hourOf(long timeMs) {
        return timeMs - Math.floorMod(timeMs, HOUR_MS);
    }

    /** Returns the start of the half hour that a time is in: all clicks of one touch the same hours. */
    public static long spanOf(long timeMs) {
        return timeMs - Math.floorMod(timeMs, VISIT_GAP_MS);
    }

    /** Returns the hours that a click can change: its own, then the one beside it. */
    public static List<Long> touchedBy(long timeMs) {
        return List.of(hourOf(timeMs), neighbourOf(timeMs));
    }

    /** Returns the hour beside a click's own that it can change too: the one before, or the one after. */
    static long neighbourOf(long timeMs) {
        long hour = hourOf(timeMs);
        return timeMs - hour < VISIT_GAP_MS ? hour - HOUR_MS : hour + HOUR_MS;
    }

    /** Returns the start of the hour with a name. */
    static long ofKey(String key) {
        return LocalDateTime.parse(key, KEY).toInstant(ZoneOffset.UTC).toEpochMilli();
    }

    /** Returns an hour's name, which is its row key in the ledger: {@code YYYY-MM-DD-HH:00}. */
    static String key(long hourMs) {
        return KEY.format(Instant.ofEpochMilli(hourMs));
    }
}
