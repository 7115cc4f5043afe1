package dataco.clicks;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.charset.StandardCharsets;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** The user of a message that need not be a valid click. */
class ReadableUserTest {
    @Test
    void inJson() {
        assertEquals(Optional.of("ann"), userId("{\"user_id\": \"ann\", \"url\": 7}"));
        assertEquals(Optional.of("7"), userId("{\"user_id\": 7}"));
        assertEquals(Optional.empty(), userId("{\"user_id\": [\"ann\"]}"));
        assertEquals(Optional.empty(), userId("no click"));
        assertEquals(Optional.empty(), ReadableUser.of((byte[]) null));
    }

    private static Optional<String> userId(String json) {
        return ReadableUser.of(json.getBytes(StandardCharsets.UTF_8));
    }
}
