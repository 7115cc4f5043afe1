package dataco.connect;

import java.time.DateTimeException;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.format.ResolverStyle;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigException;

/** The rules of settings, each with the words that an error says. */
final class Rules {
    static final ConfigDef.Validator ADDRESSES =
            matching("[^\\s:,]+:\\d{1,5}(,[^\\s:,]+:\\d{1,5})*", "host:port, comma-separated");
    static final ConfigDef.Validator NAME =
            matching("[a-zA-Z0-9._-]{1,200}", "1 to 200 letters (a to z), digits, dots, underscores or hyphens");
    static final ConfigDef.Validator TABLE_PREFIX = matching(
            "([a-zA-Z0-9_][a-zA-Z0-9_.-]{0,63})?",
            "at most 64 letters (a to z), digits, dots, underscores or hyphens, not starting with a dot or hyphen");
    static final ConfigDef.Validator REGISTRY_URL = matching(
            "(https?://[^/\\s@?#]+(/[^\\s@?#]*)?)?",
            "http(s)://host:port, with a path where it has one, without user name or password, or empty");
    static final ConfigDef.Validator HOUR =
            new Rule(Rules::isPastHour, "a whole hour that has begun, UTC, like 2026-01-01 or 2026-01-01-00:00");

    private static final DateTimeFormatter HOUR_FORMAT =
            DateTimeFormatter.ofPattern("uuuu-MM-dd-HH:mm").withResolverStyle(ResolverStyle.STRICT);
    private static final int DAY_LENGTH = 10;

    private Rules() {}

    /** Returns the start of the hour that a valid setting names, epoch ms. */
    static long hourMs(String text) {
        String hour = text.length() == DAY_LENGTH ? text + "-00:00" : text;
        return LocalDateTime.parse(hour, HOUR_FORMAT).toInstant(ZoneOffset.UTC).toEpochMilli();
    }

    private static boolean isPastHour(String text) {
        try {
            return text.matches(".*-\\d\\d(:00)?")
                    && hourMs(text) <= Instant.now().toEpochMilli();
        } catch (DateTimeException error) {
            return false;
        }
    }

    private static Rule matching(String pattern, String words) {
        return new Rule(Pattern.compile(pattern).asMatchPredicate(), words);
    }

    /**
     * A rule about a text.
     *
     * @param holds whether a text keeps it
     * @param words what it says, for a person
     */
    private record Rule(Predicate<String> holds, String words) implements ConfigDef.Validator {
        @Override
        public void ensureValid(String name, Object value) {
            if (value != null && !holds.test((String) value)) {
                throw new ConfigException(name, value, "must be " + words);
            }
        }

        @Override
        public String toString() {
            return words;
        }
    }
}
