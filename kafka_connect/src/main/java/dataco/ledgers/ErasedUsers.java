package dataco.ledgers;

import dataco.clicks.Hashes;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/**
 * Users who were erased. A click of theirs is dropped when it happened or arrived in Kafka up to the erasure.
 *
 * @param erasedAtMs when each was erased, epoch ms, by {@link Hashes#erasedUser}
 */
public record ErasedUsers(Map<String, Long> erasedAtMs) {
    /** Nobody. */
    public static final ErasedUsers NONE = new ErasedUsers(Map.of());

    /** Copies the list. */
    public ErasedUsers {
        erasedAtMs = Map.copyOf(erasedAtMs);
    }

    /** Returns whether a click that happened or arrived at that time (epoch ms), whichever is earlier, is dropped. */
    public boolean isSuppressed(String userId, long timeMs) {
        if (erasedAtMs.isEmpty()) { // nearly always, and this runs for every click
            return false;
        }
        Long erasedAt = erasedAtMs.get(Hashes.erasedUser(userId));
        return erasedAt != null && timeMs <= erasedAt;
    }

    /** The same for a message that is not a valid click; its key or a readable user id names the user. */
    public boolean isSuppressed(Optional<String> userId, byte[] key, long arrivedMs) {
        boolean byKey = key != null && isSuppressed(new String(key, StandardCharsets.UTF_8), arrivedMs);
        return byKey || userId.isPresent() && isSuppressed(userId.get(), arrivedMs);
    }

    /** Returns whether nobody was erased. */
    public boolean isEmpty() {
        return erasedAtMs.isEmpty();
    }

    /** Returns those who were erased, or erased again, since an earlier reading. */
    public ErasedUsers since(ErasedUsers earlier) {
        Map<String, Long> found = new HashMap<>(erasedAtMs);
        found.entrySet().removeAll(earlier.erasedAtMs.entrySet());
        return new ErasedUsers(found);
    }
}
