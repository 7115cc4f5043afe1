package dataco.connect;

import dataco.kafka.RejectedClick;
import dataco.ledgers.Hours;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** What happened since the last checkpoint. For one thread. */
final class Window {
    private final long startedAtMs;
    private final Map<Integer, Long> starts;
    private final Map<Long, Integer> clicksBySpan = new HashMap<>();
    private final Set<String> users = new HashSet<>();
    private final Set<Long> removed = new HashSet<>();
    private final List<String> suppressedRows = new ArrayList<>();
    private List<RejectedClick> rejected = new ArrayList<>();
    private long rejectedBytes;
    private int stored;
    private int suppressed;
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

    void store(String userId, long timeMs) {
        stored++;
        users.add(userId);
        clicksBySpan.merge(Hours.spanOf(timeMs), 1, Integer::sum);
    }

    /** Rejects a click after all that was counted as stored. */
    void takeBack(long timeMs, RejectedClick click) {
        stored--;
        clicksBySpan.merge(Hours.spanOf(timeMs), -1, Integer::sum);
        reject(click);
    }

    void reject(RejectedClick click) {
        rejected.add(click);
        rejectedBytes += click.size();
    }

    void suppress() {
        suppressed++;
    }

    /** Notes when the message just taken came to Kafka, epoch ms. */
    void arrived(long timeMs) {
        lastArrivedMs = timeMs;
    }

    long lastArrivedMs() {
        return lastArrivedMs;
    }

    /** Drops a valid click; its row must not be there. */
    void suppress(String rowKey) {
        suppressed++;
        suppressedRows.add(rowKey);
    }

    /** Drops those of the rejected messages that are of users who were erased meanwhile. */
    void keepRejected(List<RejectedClick> kept) {
        suppressed += rejected.size() - kept.size();
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

    int seen() {
        return stored + rejected.size() + suppressed;
    }

    int stored() {
        return stored;
    }

    Set<String> users() {
        return users;
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
        return suppressed;
    }

    Map<Integer, Long> starts() {
        return starts;
    }

    long startedAtMs() {
        return startedAtMs;
    }
}
