package dataco.clicks;

import java.util.HexFormat;

/**
 * The forms of IPv4 and IPv6 addresses that {@code inet_pton} accepts.
 *
 * <p>The JDK's own parser also takes {@code 127.1}, zones and host names.
 */
final class IpAddress {
    private static final int IPV4_PARTS = 4;
    private static final int MAX_PART = 255;
    private static final int MAX_PART_DIGITS = 3;
    private static final int IPV6_GROUPS = 8;
    private static final int GROUPS_OF_IPV4 = 2;
    private static final int MAX_GROUP_DIGITS = 4;

    private IpAddress() {}

    static boolean isValid(String text) {
        return text.indexOf(':') < 0 ? isIpv4(text) : isIpv6(text);
    }

    /** Four decimal numbers from 0 to 255 without leading zeros. */
    static boolean isIpv4(String text) {
        String[] parts = text.split("\\.", -1);
        if (parts.length != IPV4_PARTS) {
            return false;
        }
        for (String part : parts) {
            if (!isIpv4Part(part)) {
                return false;
            }
        }
        return true;
    }

    private static boolean isIpv4Part(String part) {
        boolean plain = !part.isEmpty()
                && part.length() <= MAX_PART_DIGITS
                && part.chars().allMatch(c -> c >= '0' && c <= '9');
        return plain && (part.length() == 1 || part.charAt(0) != '0') && Integer.parseInt(part) <= MAX_PART;
    }

    /** Eight groups of hex digits; the last two may be an IPv4 address, and {@code ::} is one or more groups of zeros. */
    static boolean isIpv6(String text) {
        int gap = text.indexOf("::");
        if (gap < 0) {
            return groups(text, true) == IPV6_GROUPS;
        }
        int before = groups(text.substring(0, gap), false);
        int behind = groups(text.substring(gap + 2), true);
        return before >= 0 && behind >= 0 && before + behind < IPV6_GROUPS;
    }

    /** The number of groups in a text, 0 when it is empty, -1 when it is malformed. */
    private static int groups(String text, boolean last) {
        if (text.isEmpty()) {
            return 0;
        }
        String[] parts = text.split(":", -1);
        int end = parts.length - 1;
        for (int i = 0; i < end; i++) {
            if (!isGroup(parts[i])) {
                return -1;
            }
        }
        if (isGroup(parts[end])) {
            return parts.length;
        }
        return last && isIpv4(parts[end]) ? end + GROUPS_OF_IPV4 : -1;
    }

    private static boolean isGroup(String part) {
        return !part.isEmpty()
                && part.length() <= MAX_GROUP_DIGITS
                && part.chars().allMatch(HexFormat::isHexDigit);
    }
}
