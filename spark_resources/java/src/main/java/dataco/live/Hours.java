package dataco.live;

import java.util.Set;

/** Hours and visits, as {@code dataco_assets/clicks/hour.py} has them. All times are epoch ms, UTC. */
final class Hours {
    static final long HOUR_MS = 3_600_000;

    /** Most time between two clicks of a visit, and so how far an hour depends on the clicks before and behind it. */
    static final long VISIT_GAP_MS = 30 * 60_000;

    private Hours() {}

    /** Returns the start of the hour that a time is in. */
    static long of(long timestamp) {
        return timestamp - Math.floorMod(timestamp, HOUR_MS);
    }

    /** Adds the hours whose sums a click can change: its own, and the neighbour that is less than 30 min away. */
    static void addTouched(long timestamp, Set<Long> hours) {
        long hour = of(timestamp);
        hours.add(hour);
        hours.add(timestamp - hour < VISIT_GAP_MS ? hour - HOUR_MS : hour + HOUR_MS);
    }

    /** Returns the first hour that is exact at a watermark: all clicks that it depends on lie after the watermark. */
    static long exactFrom(long watermarkMs) {
        return of(watermarkMs + VISIT_GAP_MS + HOUR_MS);
    }
}
