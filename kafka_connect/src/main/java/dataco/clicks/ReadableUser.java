package dataco.clicks;

import java.math.BigInteger;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** The user whom a message names that need not be a valid click. */
final class ReadableUser {
    private static final String FIELD = "user_id";

    private ReadableUser() {}

    /** Returns the user id in a message's value in JSON, as far as it can be read; null is a tombstone. */
    static Optional<String> of(byte[] value) {
        if (value == null) {
            return Optional.empty();
        }
        try {
            return of(JsonReader.members(value, Set.of(FIELD)));
        } catch (BrokenRuleException broken) {
            return Optional.empty();
        }
    }

    /** Returns the user id among the fields of a message. */
    static Optional<String> of(Map<String, JsonValue> fields) {
        JsonValue found = fields.get(FIELD);
        if (found instanceof JsonValue.Text text) {
            return Optional.of(text.value());
        }
        if (found instanceof JsonValue.WholeNumber number) {
            return Optional.of(new BigInteger(number.digits()).toString());
        }
        return Optional.empty();
    }
}
