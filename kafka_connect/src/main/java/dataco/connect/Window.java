package dataco.connect;

import dataco.clicks.RowKey;
import dataco.kafka.RejectedClick;
import dataco.ledgers.ErasedUsers;
import dataco.ledgers.Hours;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
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
    private final List<StoredClick> storedClicks = new ArrayList<>();
    private final Set<Long> removed = new HashSet<>();
    private final List<String> suppressedRows = new ArrayList<>();
    private List<RejectedClick> rejected = new ArrayList<>();
    private long rejectedBytes;
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

    /**
     * Counts a click as stored.
     *
     * @param timeMs when it happened or arrived, whichever is earlier, epoch ms
     */
    void store(byte[] rowKey, String userId, long timeMs) {
        StoredClick click = new StoredClick(rowKey, userId, timeMs);
        storedClicks.add(click);
        clicksBySpan.merge(click.span(), 1, Integer::sum);
    }

    /** Rejects a click after all that was counted as stored. */
    void takeBack(byte[] rowKey, RejectedClick rejectedClick) {
        for (int i = storedClicks.size() - 1; i >= 0; i--) {
            // Of several clicks in one row any will do: they are alike here.
            if (Arrays.equals(storedClicks.get(i).rowKey(), rowKey)) {
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
                suppress(click.key());
            }
            return dropped;
        });
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
        return storedClicks.size() + rejected.size() + suppressed;
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
        return suppressed;
    }

    Map<Integer, Long> starts() {
        return starts;
    }

    long startedAtMs() {
        return startedAtMs;
    }

    /**
     * A click whose row is in HBase, or soon will be.
     *
     * @param rowKey its row key
     * @param userId its user
     * @param timeMs when it happened or arrived, whichever is earlier, epoch ms
     */
    private record StoredClick(byte[] rowKey, String userId, long timeMs) {
        String key() {
            return new String(rowKey, StandardCharsets.US_ASCII);
        }

        long span() {
            return Hours.spanOf(RowKey.timestampOf(key()));
        }
    }
}
