package dataco.live;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * What is kept of a user between micro-batches. It is bounded by event time: a click leaves it when the watermark has
 * passed it, and no hour that depends on it is computed any more ({@link Hours#exactFrom}).
 *
 * @param clicks recent clicks, in the order of their row keys
 * @param erasedAt when the user was erased, epoch ms; -1: never
 */
record UserState(List<UserClick> clicks, long erasedAt) {
    static final long NEVER = -1;

    /** Of a user of whom nothing is known. */
    static final UserState NEW = new UserState(List.of(), NEVER);

    /** Most lead of a click's time over its arrival, ms; the contract's. */
    private static final long MAX_AHEAD_MS = 5 * 60_000;

    /**
     * A state and what led to it.
     *
     * @param after the state after a micro-batch
     * @param differences what the micro-batch adds to the sums of each group
     */
    record Step(UserState after, Sums differences) {}

    /** Returns the watermark, epoch ms, at which nothing of it is needed any more. */
    long neededUntil() {
        long newest = clicks.isEmpty() ? NEVER : clicks.get(clicks.size() - 1).timestamp();
        // A click that arrived before the erasure happened at most so long after it.
        return Math.max(newest, erasedAt == NEVER ? NEVER : erasedAt + MAX_AHEAD_MS);
    }

    /**
     * Returns the state after a micro-batch, and what it changed.
     *
     * @param arrivals clicks of the user, in any order
     * @param erased when the user was erased, epoch ms, if this became known; otherwise -1
     * @param watermarkMs the micro-batch's watermark, epoch ms
     * @param firstHour the first hour of the whole run, epoch ms; earlier ones are not computed
     * @param clicksPerMinute clicks of a bot ({@link BotRule})
     */
    Step advanced(List<Arrival> arrivals, long erased, long watermarkMs, long firstHour, int clicksPerMinute) {
        long erasedBy = Math.max(erasedAt, erased);
        List<UserClick> all = new ArrayList<>(clicks.size() + arrivals.size());
        for (UserClick click : merged(clicks, inOrder(arrivals))) {
            if (erasedBy == NEVER || Math.min(click.timestamp(), click.arrived()) > erasedBy) {
                all.add(click);
            }
        }
        Set<Long> hours = touchedHours(clicks, all);
        long from = Math.max(firstHour, Hours.exactFrom(watermarkMs));
        hours.removeIf(hour -> hour < from);
        Sums differences = hours.isEmpty()
                ? new Sums()
                : Sums.of(all, hours, clicksPerMinute)
                        .add(Sums.of(clicks, hours, clicksPerMinute), -1)
                        .withoutZeros();
        return new Step(new UserState(after(watermarkMs, all), erasedBy), differences);
    }

    /** Of arrivals with the same row key, the last one by place. */
    private static List<UserClick> inOrder(List<Arrival> arrivals) {
        Map<UserClick, UserClick> rows = new TreeMap<>(UserClick.BY_ROW);
        arrivals.stream().sorted(Arrival.BY_PLACE).forEach(each -> rows.put(each.click(), each.click()));
        return List.copyOf(rows.values());
    }

    /** Both, in order; where both have a row key, the second one's click. */
    private static List<UserClick> merged(List<UserClick> clicks, List<UserClick> others) {
        List<UserClick> found = new ArrayList<>(clicks.size() + others.size());
        int next = 0;
        for (UserClick click : clicks) {
            int order = 1;
            while (next < others.size() && (order = UserClick.BY_ROW.compare(others.get(next), click)) <= 0) {
                found.add(others.get(next++));
                if (order == 0) {
                    break;
                }
            }
            if (order != 0) {
                found.add(click);
            }
        }
        found.addAll(others.subList(next, others.size()));
        return found;
    }

    /** The hours that depend on a click that only one of the two has. */
    private static Set<Long> touchedHours(List<UserClick> before, List<UserClick> after) {
        Set<Long> hours = new HashSet<>();
        int one = 0;
        int other = 0;
        while (one < before.size() || other < after.size()) {
            int order = one == before.size()
                    ? 1
                    : other == after.size() ? -1 : UserClick.BY_ROW.compare(before.get(one), after.get(other));
            long timestamp = (order <= 0 ? before.get(one) : after.get(other)).timestamp();
            if (order != 0 || !before.get(one).equals(after.get(other))) {
                Hours.addTouched(timestamp, hours);
            }
            one += order <= 0 ? 1 : 0;
            other += order >= 0 ? 1 : 0;
        }
        return hours;
    }

    /** Those that happened after the watermark. */
    private static List<UserClick> after(long watermarkMs, List<UserClick> clicks) {
        int first = 0;
        while (first < clicks.size() && clicks.get(first).timestamp() <= watermarkMs) {
            first++;
        }
        return clicks.subList(first, clicks.size());
    }

    /** Returns it as bytes: each group once, times as differences to the time before, and a bot's mark as the last bit. */
    byte[] encoded() {
        Map<Group, Integer> places = new HashMap<>();
        List<Group> groups = new ArrayList<>();
        for (UserClick click : clicks) {
            if (places.putIfAbsent(click.group(), groups.size()) == null) {
                groups.add(click.group());
            }
        }
        ByteWriter writer = new ByteWriter().number(erasedAt).number(groups.size());
        groups.forEach(group -> writer.text(group.page()).text(group.country()));
        writer.number(clicks.size());
        long time = 0;
        for (UserClick click : clicks) {
            writer.number(click.timestamp() - time)
                    .eightBytes(click.keyHigh())
                    .eightBytes(click.keyLow())
                    .number(click.arrived() - click.timestamp())
                    .number(2L * places.get(click.group()) + (click.byBot() ? 1 : 0));
            time = click.timestamp();
        }
        return writer.bytes();
    }

    /** Returns the state that these bytes are. */
    static UserState decoded(byte[] bytes) {
        ByteReader reader = new ByteReader(bytes);
        long erasedAt = reader.number();
        Group[] groups = new Group[(int) reader.number()];
        for (int i = 0; i < groups.length; i++) {
            groups[i] = new Group(reader.text(), reader.text());
        }
        int count = (int) reader.number();
        List<UserClick> clicks = new ArrayList<>(count);
        long time = 0;
        for (int i = 0; i < count; i++) {
            time += reader.number();
            long keyHigh = reader.eightBytes();
            long keyLow = reader.eightBytes();
            long arrived = time + reader.number();
            long place = reader.number();
            clicks.add(new UserClick(time, keyHigh, keyLow, arrived, groups[(int) (place / 2)], place % 2 == 1));
        }
        return new UserState(clicks, erasedAt);
    }
}
