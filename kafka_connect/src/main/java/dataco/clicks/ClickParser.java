package dataco.clicks;

import static dataco.clicks.BrokenRuleException.shown;

import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Decodes a click in JSON and judges the fields of one in any format, or returns the reason why it is none.
 *
 * <p>The first broken rule is the reason, in this order: tombstone, size, JSON, object; then shape (field after field:
 * missing, type, length); then control characters; then form, field after field.
 */
public final class ClickParser {
    static final int MAX_PAYLOAD_BYTES = 1_048_576;
    static final int MAX_USER_ID = 256;
    static final int MAX_URL = 8_192;
    static final int MAX_USER_AGENT = 2_048;
    static final int MAX_EVENT_ID = 128;
    static final int MAX_OPTIONAL = 256;

    /** The largest timestamp with 13 digits, as many as the row key holds: 20 November 2286. */
    static final long MAX_TIMESTAMP_MS = 9_999_999_999_999L;

    /** Maximum lead of a click's timestamp over its Kafka record time. */
    static final long MAX_AHEAD_MS = 5 * 60_000L;

    static final String UNKNOWN_COUNTRY = "ZZ";

    private static final int COUNTRY_LETTERS = 2;
    private static final int MAX_TIMESTAMP_DIGITS = 13;
    private static final char DELETE = '\u007f';

    /** The known fields, in the order in which broken rules are reported. */
    static final List<String> NAMES = List.of(
            "user_id",
            "timestamp",
            "url",
            "ip_address",
            "user_agent",
            "event_id",
            "country",
            "city",
            "browser",
            "operating_system",
            "device",
            "referrer");

    /** The names of the fields that a click must have. */
    static final List<String> REQUIRED = NAMES.subList(0, NAMES.indexOf("event_id"));

    private static final Set<String> NAME_SET = Set.copyOf(NAMES);

    private final Map<String, JsonValue> members;

    private ClickParser(Map<String, JsonValue> members) {
        this.members = members;
    }

    /**
     * Decodes and validates one record in JSON, whatever its bytes.
     *
     * @param payload the record's value; null is a tombstone
     * @param recordTimeMs the record's Kafka timestamp, epoch ms
     * @param earliestMs start of the first partition, epoch ms; older clicks are rejected
     */
    public static Verdict parse(byte[] payload, long recordTimeMs, long earliestMs) {
        try {
            return validated(JsonReader.members(required(payload), NAME_SET), recordTimeMs, earliestMs);
        } catch (BrokenRuleException broken) {
            return broken.rejection();
        }
    }

    /** Returns the click that has these fields, by name. */
    static Click validated(Map<String, JsonValue> fields, long recordTimeMs, long earliestMs)
            throws BrokenRuleException {
        ClickParser parser = new ClickParser(fields);
        parser.checkShape();
        parser.checkControlCharacters();
        return parser.click(recordTimeMs, earliestMs);
    }

    /** Returns a record's value, if there is one and it is not too large. */
    static byte[] required(byte[] payload) throws BrokenRuleException {
        if (payload == null) {
            throw new BrokenRuleException(Reason.TOMBSTONE, "the record has no value");
        }
        if (payload.length > MAX_PAYLOAD_BYTES) {
            throw new BrokenRuleException(Reason.TOO_LARGE, payload.length + " bytes, at most " + MAX_PAYLOAD_BYTES);
        }
        return payload;
    }

    private void checkShape() throws BrokenRuleException {
        requireText("user_id", 1, MAX_USER_ID);
        JsonValue timestamp = required("timestamp");
        if (!(timestamp instanceof JsonValue.WholeNumber)) {
            checkText("timestamp", timestamp, 0, Integer.MAX_VALUE);
        }
        requireText("url", 1, MAX_URL);
        requireText("ip_address", 0, Integer.MAX_VALUE);
        requireText("user_agent", 0, MAX_USER_AGENT);
        allowText("event_id", MAX_EVENT_ID);
        allowText("country", Integer.MAX_VALUE);
        for (String name : List.of("city", "browser", "operating_system", "device")) {
            allowText(name, MAX_OPTIONAL);
        }
        allowText("referrer", MAX_URL);
    }

    private void requireText(String name, int least, int most) throws BrokenRuleException {
        checkText(name, required(name), least, most);
    }

    private void allowText(String name, int most) throws BrokenRuleException {
        JsonValue value = members.get(name);
        if (value != null && value != JsonValue.Other.NULL) {
            checkText(name, value, 0, most);
        }
    }

    private JsonValue required(String name) throws BrokenRuleException {
        JsonValue value = members.get(name);
        if (value == null || value == JsonValue.Other.NULL) {
            throw new BrokenRuleException(Reason.MISSING_FIELD, name + " is missing or null");
        }
        return value;
    }

    private static void checkText(String name, JsonValue value, int least, int most) throws BrokenRuleException {
        if (!(value instanceof JsonValue.Text text)) {
            throw new BrokenRuleException(Reason.WRONG_TYPE, name + " is " + value.type());
        }
        String characters = text.value();
        int length = characters.codePointCount(0, characters.length());
        if (length < least || length > most) {
            String limits = least + " to " + most;
            throw new BrokenRuleException(
                    Reason.WRONG_LENGTH,
                    name + " has " + length + " characters, expected " + limits + ", got " + shown(characters));
        }
    }

    private void checkControlCharacters() throws BrokenRuleException {
        for (String name : NAMES) {
            String value = text(name);
            for (int i = 0; i < value.length(); i++) {
                char c = value.charAt(i);
                if (c < ' ' || c == DELETE) {
                    throw new BrokenRuleException(
                            Reason.CONTROL_CHARACTER,
                            String.format("%s: U+%04X at character %d", name, (int) c, value.codePointCount(0, i)));
                }
            }
        }
    }

    /** The characters of a field; empty when it is absent or no text. */
    private String text(String name) {
        return members.get(name) instanceof JsonValue.Text text ? text.value() : "";
    }

    private Click click(long recordTimeMs, long earliestMs) throws BrokenRuleException {
        long timestamp = timestamp(recordTimeMs, earliestMs);
        String url = text("url");
        String page = Page.of(url);
        String ipAddress = text("ip_address");
        if (!IpAddress.isValid(ipAddress)) {
            throw new BrokenRuleException(Reason.INVALID_IP_ADDRESS, "ip_address: " + shown(ipAddress));
        }
        String country = country();
        String userId = text("user_id");
        String userAgent = text("user_agent");
        String eventId = text("event_id");
        if (eventId.isEmpty()) {
            eventId = Hashes.derivedEventId(userId, timestamp, url, ipAddress, userAgent);
        }
        return new Click(
                eventId,
                userId,
                timestamp,
                url,
                page,
                ipAddress,
                userAgent,
                country,
                text("city"),
                text("browser"),
                text("operating_system"),
                text("device"),
                text("referrer"),
                Page.referringHost(text("referrer"), page));
    }

    private String country() throws BrokenRuleException {
        String country = text("country");
        if (country.isEmpty()) {
            return UNKNOWN_COUNTRY;
        }
        if (country.length() != COUNTRY_LETTERS || !country.chars().allMatch(c -> c >= 'A' && c <= 'Z')) {
            throw new BrokenRuleException(
                    Reason.INVALID_COUNTRY, "country: expected two letters A to Z, found " + shown(country));
        }
        return country;
    }

    private long timestamp(long recordTimeMs, long earliestMs) throws BrokenRuleException {
        JsonValue value = members.get("timestamp");
        boolean number = value instanceof JsonValue.WholeNumber;
        String written = number ? ((JsonValue.WholeNumber) value).digits() : text("timestamp");
        long timestamp = number ? bounded(written) : IsoTime.toEpochMs(written);
        if (timestamp < 0 || timestamp > MAX_TIMESTAMP_MS) {
            throw new BrokenRuleException(
                    Reason.INVALID_TIMESTAMP, "timestamp: 0 to " + MAX_TIMESTAMP_MS + " ms, found " + shown(written));
        }
        // Not added to the record's time: a producer sets that one, too, and the sum could overflow.
        if (timestamp - MAX_AHEAD_MS > recordTimeMs) {
            throw new BrokenRuleException(
                    Reason.TIMESTAMP_IN_FUTURE,
                    "timestamp: more than " + MAX_AHEAD_MS + " ms ahead of Kafka's, " + recordTimeMs + ": "
                            + shown(written));
        }
        if (timestamp < earliestMs) {
            throw new BrokenRuleException(
                    Reason.BEFORE_FIRST_PARTITION,
                    "timestamp: before the first partition, " + earliestMs + ": " + shown(written));
        }
        return timestamp;
    }

    /** An integer of any size as a number that is out of range when it is. */
    private static long bounded(String digits) {
        return digits.length() <= MAX_TIMESTAMP_DIGITS ? Long.parseLong(digits) : MAX_TIMESTAMP_MS + 1;
    }
}
