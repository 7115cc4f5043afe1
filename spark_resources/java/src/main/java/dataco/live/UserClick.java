package dataco.live;

import java.util.Comparator;

/**
 * A click of a user, as far as sums depend on it.
 *
 * @param timestamp when it happened, epoch ms
 * @param keyHigh first half of the hash in its row key, which tells clicks of the same millisecond apart
 * @param keyLow second half of that hash
 * @param arrived when it came to Kafka, epoch ms
 * @param group page and country
 * @param byBot whether its browser or its device is a bot's
 */
record UserClick(long timestamp, long keyHigh, long keyLow, long arrived, Group group, boolean byBot) {
    /** The order of row keys. Clicks that it takes for equal have the same row key, so one replaces the other. */
    static final Comparator<UserClick> BY_ROW = Comparator.comparingLong(UserClick::timestamp)
            .thenComparing(UserClick::keyHigh, Long::compareUnsigned)
            .thenComparing(UserClick::keyLow, Long::compareUnsigned);
}
