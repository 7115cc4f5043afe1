package dataco.ledgers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dataco.clicks.Hashes;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** Whose clicks are dropped. */
class ErasedUsersTest {
    private static final ErasedUsers ANN = new ErasedUsers(Map.of(Hashes.erasedUser("ann"), 1_000L));

    @Test
    void theHashIsPythons() {
        // blake2b(b"ann", digest_size=32, person=b"dataco-erased")
        assertEquals("cc38350c55dad238e30834329aedd9de792a24e7ef54c3176309b92c2b398064", Hashes.erasedUser("ann"));
    }

    @Test
    void upToTheErasure() {
        assertTrue(ANN.isSuppressed("ann", 1_000));
        assertFalse(ANN.isSuppressed("ann", 1_001));
        assertFalse(ANN.isSuppressed("bob", 1_000));
        assertFalse(ErasedUsers.NONE.isSuppressed("ann", 0));
    }

    @Test
    void messagesThatAreNoClicks() {
        assertTrue(ANN.isSuppressed(Optional.of("ann"), null, 5));
        assertTrue(ANN.isSuppressed(Optional.empty(), bytes("ann"), 5));
        assertFalse(ANN.isSuppressed(Optional.of("bob"), bytes("bob"), 5));
        assertFalse(ANN.isSuppressed(Optional.empty(), null, 5));
    }

    @Test
    void whatChanged() {
        ErasedUsers later = new ErasedUsers(Map.of(Hashes.erasedUser("ann"), 2_000L, Hashes.erasedUser("bob"), 5L));
        assertEquals(later, later.since(ANN));
        assertEquals(ErasedUsers.NONE, ANN.since(ANN));
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
