package dataco.live;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What clicks of users add up to, by group: a number for each measure, in the order of {@code MEASURES} in {@code
 * dataco_assets/aggregates/live_sums.py}. All are whole numbers, so that adding differences never drifts.
 */
final class Sums {
    /** Least time of each bucket of the time spent, ms; see {@code dataco_assets/clicks/time_spent.py}. */
    private static final long[] LOWER_LIMITS_MS = {
        0, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000, 8_000, 12_000, 16_000, 24_000, 32_000, 48_000, 64_000, 96_000,
        128_000, 192_000, 256_000, 384_000, 512_000, 768_000, 1_024_000, 1_536_000
    };

    private static final int CLICKS = 0;
    private static final int USERS = 1;
    private static final int ENTERING = 2;
    private static final int SPENT_MS = 3;
    private static final int SAMPLES = 4;
    private static final int ENTRIES = 5;
    private static final int EXITS = 6;
    private static final int BOUNCES = 7;
    private static final int BOT_CLICKS = 8;
    private static final int FIRST_BUCKET = 9;

    /** Number of measures. */
    static final int MEASURES = FIRST_BUCKET + LOWER_LIMITS_MS.length;

    private final Map<HourGroup, long[]> byGroup = new HashMap<>();

    /** Returns what a user's clicks contribute to some hours; so many in a minute are a bot's ({@link BotRule}). */
    static Sums of(List<UserClick> clicks, Set<Long> hours, int clicksPerMinute) {
        Sums found = new Sums();
        int endOfMinute = 0;
        boolean isFast = false;
        for (int i = 0; i < clicks.size(); i++) {
            UserClick click = clicks.get(i);
            if (i == endOfMinute) {
                endOfMinute = endOfMinute(clicks, i);
                isFast = BotRule.isRate(endOfMinute - i, clicksPerMinute);
            }
            long hour = Hours.of(click.timestamp());
            if (hours.contains(hour)) {
                UserClick previous = i == 0 ? null : clicks.get(i - 1);
                UserClick next = i == clicks.size() - 1 ? null : clicks.get(i + 1);
                found.count(previous, click, next, hour);
                if (isFast || click.byBot()) {
                    found.of(new HourGroup(hour, click.group()))[BOT_CLICKS]++;
                }
            }
        }
        return found;
    }

    /** Returns the place of the first click behind those that are in the same minute as one. */
    private static int endOfMinute(List<UserClick> clicks, int first) {
        long minute = BotRule.minuteOf(clicks.get(first).timestamp());
        int end = first + 1;
        while (end < clicks.size() && BotRule.minuteOf(clicks.get(end).timestamp()) == minute) {
            end++;
        }
        return end;
    }

    private void count(UserClick previous, UserClick click, UserClick next, long hour) {
        long[] sums = of(new HourGroup(hour, click.group()));
        sums[USERS] = 1;
        sums[CLICKS]++;
        if (previous == null || previous.timestamp() < hour) {
            sums[ENTERING]++;
        }
        boolean begins = previous == null || click.timestamp() - previous.timestamp() > Hours.VISIT_GAP_MS;
        if (begins) {
            sums[ENTRIES]++;
        }
        if (next != null && next.timestamp() - click.timestamp() <= Hours.VISIT_GAP_MS) {
            long spent = next.timestamp() - click.timestamp();
            sums[SPENT_MS] += spent;
            sums[SAMPLES]++;
            int found = Arrays.binarySearch(LOWER_LIMITS_MS, spent);
            sums[FIRST_BUCKET + (found < 0 ? -found - 2 : found)]++;
        } else {
            sums[EXITS]++;
            if (begins) {
                sums[BOUNCES]++;
            }
        }
    }

    /** Adds other sums, so many times. */
    Sums add(Sums others, int times) {
        others.byGroup.forEach((group, numbers) -> {
            long[] own = of(group);
            for (int i = 0; i < MEASURES; i++) {
                own[i] += times * numbers[i];
            }
        });
        return this;
    }

    /** Removes groups in which nothing is left. */
    Sums withoutZeros() {
        byGroup.values().removeIf(numbers -> Arrays.stream(numbers).allMatch(number -> number == 0));
        return this;
    }

    boolean isEmpty() {
        return byGroup.isEmpty();
    }

    private long[] of(HourGroup group) {
        return byGroup.computeIfAbsent(group, any -> new long[MEASURES]);
    }

    /** Returns them as bytes: of each group the numbers that are not 0, each behind its place. */
    byte[] encoded() {
        ByteWriter writer = new ByteWriter();
        byGroup.forEach((group, numbers) -> {
            writer.number(group.hour())
                    .text(group.group().page())
                    .text(group.group().country());
            for (int i = 0; i < MEASURES; i++) {
                if (numbers[i] != 0) {
                    writer.number(i).number(numbers[i]);
                }
            }
            writer.number(MEASURES);
        });
        return writer.bytes();
    }

    /** Adds the sums that these bytes are. */
    Sums addEncoded(byte[] bytes) {
        ByteReader reader = new ByteReader(bytes);
        while (!reader.isAtEnd()) {
            long[] own = of(new HourGroup(reader.number(), new Group(reader.text(), reader.text())));
            for (int i = (int) reader.number(); i < MEASURES; i = (int) reader.number()) {
                own[i] += reader.number();
            }
        }
        return this;
    }

    /** Returns them as lists of hour, page, country and the numbers. */
    List<List<Object>> rows() {
        List<List<Object>> rows = new ArrayList<>(byGroup.size());
        byGroup.forEach((group, numbers) -> rows.add(
                List.of(group.hour(), group.group().page(), group.group().country(), numbers)));
        return rows;
    }
}
