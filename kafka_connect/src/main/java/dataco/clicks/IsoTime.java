package dataco.clicks;

import java.time.DateTimeException;
import java.time.LocalDate;
import java.time.LocalTime;
import java.time.ZoneOffset;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A date, a time and an offset in the one form of ISO 8601 that the contract reads. */
final class IsoTime {
    private static final Pattern FORM = Pattern.compile("([0-9]{4})-([0-9]{2})-([0-9]{2})"
            + "T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\\.([0-9]+))?)?"
            + "(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))");
    private static final int YEAR = 1;
    private static final int MONTH = 2;
    private static final int DAY = 3;
    private static final int HOUR = 4;
    private static final int MINUTE = 5;
    private static final int SECOND = 6;
    private static final int FRACTION = 7;
    private static final int SIGN = 8;
    private static final int OFFSET_HOUR = 9;
    private static final int OFFSET_MINUTE = 10;
    private static final int SECONDS_OF_MINUTE = 60;
    private static final int SECONDS_OF_HOUR = 3_600;
    private static final long MS_OF_SECOND = 1_000;

    private IsoTime() {}

    /**
     * Returns the epoch ms of a text; a fraction is cut at the millisecond.
     *
     * @throws BrokenRuleException it has another form, or names no day or time that exists
     */
    static long toEpochMs(String text) throws BrokenRuleException {
        Matcher found = FORM.matcher(text);
        if (!found.matches()) {
            throw invalid("not like 2015-05-17T10:05:03.000Z", text);
        }
        try {
            LocalDate day = LocalDate.of(number(found, YEAR), number(found, MONTH), number(found, DAY));
            LocalTime time = LocalTime.of(number(found, HOUR), number(found, MINUTE), number(found, SECOND));
            long seconds = day.toEpochSecond(time, ZoneOffset.UTC) - offsetSeconds(found);
            return seconds * MS_OF_SECOND + milliseconds(found);
        } catch (DateTimeException error) {
            throw invalid(error.getMessage(), text);
        }
    }

    private static int offsetSeconds(Matcher found) {
        int seconds = number(found, OFFSET_HOUR) * SECONDS_OF_HOUR + number(found, OFFSET_MINUTE) * SECONDS_OF_MINUTE;
        return "-".equals(found.group(SIGN)) ? -seconds : seconds;
    }

    private static int milliseconds(Matcher found) {
        String fraction = found.group(FRACTION);
        return fraction == null ? 0 : Integer.parseInt((fraction + "00").substring(0, 3));
    }

    private static int number(Matcher found, int group) {
        String digits = found.group(group);
        return digits == null ? 0 : Integer.parseInt(digits);
    }

    private static BrokenRuleException invalid(String problem, String text) {
        return new BrokenRuleException(
                Reason.INVALID_TIMESTAMP, "timestamp: " + problem + ": " + BrokenRuleException.shown(text));
    }
}
