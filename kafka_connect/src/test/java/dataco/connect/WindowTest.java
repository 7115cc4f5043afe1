package dataco.connect;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dataco.clicks.Hashes;
import dataco.clicks.Reason;
import dataco.clicks.Rejection;
import dataco.kafka.RejectedClick;
import dataco.ledgers.EmptyOffsets;
import dataco.ledgers.ErasedUsers;
import dataco.ledgers.PassedOffsets;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** What a window knows of clicks that turn out not to be stored after all. */
class WindowTest {
    private static final long HALF_HOUR_MS = 1_800_000;
    private static final ErasedUsers ANN = new ErasedUsers(Map.of(Hashes.erasedUser("ann"), 2 * HALF_HOUR_MS));

    private final Window window = new Window(0, Map.of());

    @Test
    void clicksOfErasedUsersAreToBeDeletedAndCountAsSuppressed() {
        window.store(new Place(0, 0), key(0, "a"), "ann", 0, false);
        window.store(new Place(0, 1), key(HALF_HOUR_MS, "b"), "bob", HALF_HOUR_MS, false);
        window.store(
                new Place(0, 2), key(5 * HALF_HOUR_MS, "c"), "ann", 5 * HALF_HOUR_MS, false); // after she was erased
        window.dropErased(ANN);
        assertEquals(List.of(text(key(0, "a"))), window.suppressedRows());
        assertEquals(Set.of(HALF_HOUR_MS, 5 * HALF_HOUR_MS), window.times());
        assertEquals(2, window.stored());
        assertEquals(1, window.suppressed());
        assertEquals(3, window.seen());
    }

    @Test
    void clickThatHBaseRefusedIsRejectedAndStoredNoMore() {
        window.store(new Place(0, 0), key(0, "a"), "ann", 0, false);
        window.store(new Place(0, 1), key(HALF_HOUR_MS, "b"), "bob", HALF_HOUR_MS, false);
        window.takeBack(rejected(0, 0));
        window.dropErased(ANN);
        assertEquals(List.of(), window.suppressedRows());
        assertEquals(Set.of(HALF_HOUR_MS), window.times());
        assertEquals(1, window.stored());
        assertEquals(1, window.rejected().size());
        assertEquals(2, window.seen());
    }

    @Test
    void eachOffsetOfAWindowIsCountedOnceByWhatBecameOfIt() {
        Window counting = new Window(0, Map.of(0, 0L, 1, 100L, 2, 7L));
        counting.store(new Place(0, 0), key(0, "a"), "bob", 0, false);
        counting.store(new Place(0, 1), key(0, "a"), "bob", 0, false);
        counting.skipped(0, 2, 5);
        counting.reject(rejected(0, 5));
        counting.store(new Place(0, 6), key(0, "b"), "ann", 0, false);
        counting.store(new Place(0, 7), key(0, "c"), "bob", 0, false);
        counting.suppress(new Place(1, 100));
        counting.reject(rejected(1, 101));
        counting.store(new Place(1, 102), key(0, "a"), "bob", 0, false);
        counting.takeBack(rejected(0, 7));
        counting.dropErased(ANN);
        counting.keepRejected(List.of(rejected(0, 5), rejected(0, 7)));

        assertEquals(
                List.of(
                        new PassedOffsets(
                                0, 0, 8, 1, List.of(1L), List.of(5L, 7L), List.of(6L), List.of(new EmptyOffsets(2, 5))),
                        new PassedOffsets(1, 100, 103, 0, List.of(102L), List.of(), List.of(100L, 101L), List.of())),
                counting.passed(new TreeMap<>(Map.of(0, 8L, 1, 103L, 2, 7L))));
    }

    @Test
    void hoursOfReplayedClicksAreThoseOfClicksThatStayStored() {
        long refusedMs = 20 * HALF_HOUR_MS;
        window.store(new Place(0, 0), key(5 * HALF_HOUR_MS, "a"), "bob", 5 * HALF_HOUR_MS, true);
        window.store(new Place(0, 1), key(10 * HALF_HOUR_MS, "b"), "bob", 10 * HALF_HOUR_MS, false);
        window.store(new Place(0, 2), key(refusedMs, "c"), "bob", refusedMs, true);
        window.store(new Place(0, 3), key(refusedMs, "d"), "bob", refusedMs, false);
        window.takeBack(rejected(0, 2));
        assertEquals(Set.of(4 * HALF_HOUR_MS, 6 * HALF_HOUR_MS), window.replayedHours());
    }

    private static RejectedClick rejected(int partition, long offset) {
        Rejection refused = new Rejection(Reason.REFUSED_BY_STORE, "too large");
        return new RejectedClick("clicks", partition, offset, 0, null, null, List.of(), refused);
    }

    private static byte[] key(long timeMs, String event) {
        return String.format("0c-%013d-%32s", timeMs, event).getBytes(StandardCharsets.US_ASCII);
    }

    private static String text(byte[] key) {
        return new String(key, StandardCharsets.US_ASCII);
    }
}
