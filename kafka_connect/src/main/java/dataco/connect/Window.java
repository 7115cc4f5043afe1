package dataco.connect;

import dataco.clicks.RowKey;
import dataco.kafka.RejectedClick;
import dataco.ledgers.EmptyOffsets;
import dataco.ledgers.ErasedUsers;
import dataco.ledgers.Hours;
import dataco.ledgers.PassedOffsets;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** What happened since the last checkpoint. For one thread. */
final class Window {
    private final long startedAtMs;
    private final Map<Integer, Long> starts;
    private final Map<Long, Integer> clicksBySpan = new HashMap<>();
    private final List<StoredClick> storedClicks = new ArrayList<>();
    private final Set<Long> removed = new HashSet<>();
    private final Map<Integer, List<EmptyOffsets>> empty = new HashMap<>();
    private final List<Place> suppressed = new ArrayList<>();
    private final List<String> suppressedRows = new ArrayList<>();
    private List<RejectedClick> rejected = new ArrayList<>();
    private long rejectedBytes;
    private long lastArrivedMs;

    /**
     * Begins a window.
     *
     * @param startedAtMs HBase's time, at which none of its clicks was stored yet, epoch ms
     * @param starts first offset by partition
     */
    Window(long startedAtMs, Map<Integer, Long> starts) {
        this.startedAtMs = startedAtMs;
        this.starts = new HashMap<>(starts);
    }

    /**
     * Counts a click as stored.
     *
     * @param place where its message is
     * @param rowKey its row key
     * @param userId its user
     * @param timeMs when it happened or arrived, whichever is earlier, epoch ms
     * @param replayed whether it was rejected before and sent back
     */
    void store(Place place, byte[] rowKey, String userId, long timeMs, boolean replayed) {
        StoredClick click = new StoredClick(place, rowKey, userId, timeMs, replayed);
        storedClicks.add(click);
        clicksBySpan.merge(click.span(), 1, Integer::sum);
    }

    /** Rejects a click after all that was counted as stored. */
    void takeBack(RejectedClick rejectedClick) {
        Place place = placeOf(rejectedClick);
        for (int i = storedClicks.size() - 1; i >= 0; i--) {
            if (storedClicks.get(i).place().equals(place)) {
                clicksBySpan.merge(storedClicks.remove(i).span(), -1, Integer::sum);
                break;
            }
        }
        reject(rejectedClick);
    }

    /** Drops clicks of users who were erased after the clicks had been counted as stored: their rows must go. */
    void dropErased(ErasedUsers erased) {
        storedClicks.removeIf(click -> {
            boolean dropped = erased.isSuppressed(click.userId(), click.timeMs());
            if (dropped) {
                clicksBySpan.merge(click.span(), -1, Integer::sum);
                suppress(click.place(), click.key());
            }
            return dropped;
        });
    }

    void reject(RejectedClick click) {
        rejected.add(click);
        rejectedBytes += click.size();
    }

    void suppress(Place place) {
        suppressed.add(place);
    }

    /** Notes offsets [start, end) that have no message, if there are any. */
    void skipped(int partition, long start, long end) {
        if (end > start) {
            empty.computeIfAbsent(partition, none -> new ArrayList<>()).add(new EmptyOffsets(start, end));
        }
    }

    /** Notes when the message just taken came to Kafka, epoch ms. */
    void arrived(long timeMs) {
        lastArrivedMs = timeMs;
    }

    long lastArrivedMs() {
        return lastArrivedMs;
    }

    /** Drops a valid click; its row must not be there. */
    void suppress(Place place, String rowKey) {
        suppressed.add(place);
        suppressedRows.add(rowKey);
    }

    /** Drops those of the rejected messages that are of users who were erased meanwhile. */
    void keepRejected(List<RejectedClick> kept) {
        if (kept.size() == rejected.size()) {
            return;
        }
        Set<Place> places = new HashSet<>();
        kept.forEach(click -> places.add(placeOf(click)));
        rejected.stream()
                .map(Window::placeOf)
                .filter(place -> !places.contains(place))
                .forEach(suppressed::add);
        rejected = new ArrayList<>(kept);
    }

    /** Starts of the half hours that hold stored clicks, epoch ms. */
    Set<Long> times() {
        Set<Long> times = new HashSet<>();
        clicksBySpan.forEach((span, clicks) -> {
            if (clicks > 0) {
                times.add(span);
            }
        });
        return times;
    }

    /** Hours that stored clicks touch which were rejected before and sent back, epoch ms. */
    Set<Long> replayedHours() {
        return storedClicks.stream()
                .filter(StoredClick::replayed)
                .flatMap(click -> Hours.touchedBy(click.span()).stream())
                .collect(Collectors.toSet());
    }

    int seen() {
        return storedClicks.size() + rejected.size() + suppressed.size();
    }

    int stored() {
        return storedClicks.size();
    }

    List<RejectedClick> rejected() {
        return rejected;
    }

    long rejectedBytes() {
        return rejectedBytes;
    }

    List<String> suppressedRows() {
        return suppressedRows;
    }

    /** Times of clicks whose rows were deleted, epoch ms; to be added to. */
    Set<Long> removed() {
        return removed;
    }

    int suppressed() {
        return suppressed.size();
    }

    Map<Integer, Long> starts() {
        return starts;
    }

    /**
     * Returns the offsets of the window with what became of them, of the partitions where there are any.
     *
     * @param ends the offset behind the last by partition
     */
    List<PassedOffsets> passed(Map<Integer, Long> ends) {
        Map<Integer, Long> stored = new HashMap<>();
        List<Place> repeated = new ArrayList<>();
        Set<ByteBuffer> rows = new HashSet<>();
        for (StoredClick click : storedClicks) {
            if (rows.add(ByteBuffer.wrap(click.rowKey()))) {
                stored.merge(click.place().partition(), 1L, Long::sum);
            } else {
                repeated.add(click.place());
            }
        }
        Map<Integer, List<Long>> repetitions = byPartition(repeated.stream());
        Map<Integer, List<Long>> refused = byPartition(rejected.stream().map(Window::placeOf));
        Map<Integer, List<Long>> dropped = byPartition(suppressed.stream());
        List<PassedOffsets> passed = new ArrayList<>();
        ends.forEach((partition, end) -> {
            long start = starts.get(partition);
            if (end > start) {
                passed.add(new PassedOffsets(
                        partition,
                        start,
                        end,
                        stored.getOrDefault(partition, 0L),
                        repetitions.getOrDefault(partition, List.of()),
                        refused.getOrDefault(partition, List.of()),
                        dropped.getOrDefault(partition, List.of()),
                        empty.getOrDefault(partition, List.of())));
            }
        });
        return passed;
    }

    long startedAtMs() {
        return startedAtMs;
    }

    private static Place placeOf(RejectedClick click) {
        return new Place(click.partition(), click.offset());
    }

    private static Map<Integer, List<Long>> byPartition(Stream<Place> places) {
        return places.collect(
                Collectors.groupingBy(Place::partition, Collectors.mapping(Place::offset, Collectors.toList())));
    }

    /**
     * A click whose row is in HBase, or soon will be.
     *
     * @param place where its message is
     * @param rowKey its row key
     * @param userId its user
     * @param timeMs when it happened or arrived, whichever is earlier, epoch ms
     * @param replayed whether it was rejected before and sent back
     */
    private record StoredClick(Place place, byte[] rowKey, String userId, long timeMs, boolean replayed) {
        String key() {
            return new String(rowKey, StandardCharsets.US_ASCII);
        }

        long span() {
            return Hours.spanOf(RowKey.timestampOf(key()));
        }
    }
}
