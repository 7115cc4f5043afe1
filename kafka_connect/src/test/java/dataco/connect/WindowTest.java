package dataco.connect;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dataco.clicks.Hashes;
import dataco.clicks.Reason;
import dataco.clicks.Rejection;
import dataco.kafka.RejectedClick;
import dataco.ledgers.ErasedUsers;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** What a window knows of clicks that turn out not to be stored after all. */
class WindowTest {
    private static final long HALF_HOUR_MS = 1_800_000;
    private static final ErasedUsers ANN = new ErasedUsers(Map.of(Hashes.erasedUser("ann"), 2 * HALF_HOUR_MS));

    private final Window window = new Window(0, Map.of());

    @Test
    void clicksOfErasedUsersAreToBeDeletedAndCountAsSuppressed() {
        window.store(key(0, "a"), "ann", 0);
        window.store(key(HALF_HOUR_MS, "b"), "bob", HALF_HOUR_MS);
        window.store(key(5 * HALF_HOUR_MS, "c"), "ann", 5 * HALF_HOUR_MS); // after she was erased
        window.dropErased(ANN);
        assertEquals(List.of(text(key(0, "a"))), window.suppressedRows());
        assertEquals(Set.of(HALF_HOUR_MS, 5 * HALF_HOUR_MS), window.times());
        assertEquals(2, window.stored());
        assertEquals(1, window.suppressed());
        assertEquals(3, window.seen());
    }

    @Test
    void clickThatHBaseRefusedIsRejectedAndStoredNoMore() {
        window.store(key(0, "a"), "ann", 0);
        window.store(key(HALF_HOUR_MS, "b"), "bob", HALF_HOUR_MS);
        Rejection refused = new Rejection(Reason.REFUSED_BY_STORE, "too large");
        window.takeBack(key(0, "a"), new RejectedClick("clicks", 0, 0, 0, null, null, List.of(), refused));
        window.dropErased(ANN);
        assertEquals(List.of(), window.suppressedRows());
        assertEquals(Set.of(HALF_HOUR_MS), window.times());
        assertEquals(1, window.stored());
        assertEquals(1, window.rejected().size());
        assertEquals(2, window.seen());
    }

    private static byte[] key(long timeMs, String event) {
        return String.format("0c-%013d-%32s", timeMs, event).getBytes(StandardCharsets.US_ASCII);
    }

    private static String text(byte[] key) {
        return new String(key, StandardCharsets.US_ASCII);
    }
}
