package dataco.clicks;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The page of a click: its URL in the canonical form by which clicks are grouped. */
final class Page {
    private static final Pattern BLANK = Pattern.compile("[\\x00-\\x20\\x7f]");
    private static final Pattern ASCII_NOT_IN_HOST = Pattern.compile("[\\x00-\\x7f&&[^-a-z0-9._~!$&'()*+,;=]]");
    private static final Pattern PORT = Pattern.compile("0*([0-9]{1,5})");
    private static final Pattern TRACKING_PARAMETER =
            Pattern.compile("(?:utm_[^=]*|gclid|fbclid|msclkid)(?:=.*)?", Pattern.DOTALL);
    private static final int MAX_PORT = 65_535;
    private static final String SEPARATOR = "://";

    private Page() {}

    /**
     * Returns the page of a URL.
     *
     * <p>Scheme and ASCII letters of the host in lower case; default port, user name and password, fragment and tracking
     * parameters removed; an empty path becomes {@code /}. Everything else stays as it is.
     *
     * @throws BrokenRuleException it is no absolute http or https URL, or its host or port is impossible
     */
    static String of(String url) throws BrokenRuleException {
        if (BLANK.matcher(url).find()) {
            throw invalid("holds a space or a control character", url);
        }
        int separator = url.indexOf(SEPARATOR);
        String scheme = separator < 0 ? "" : lowerCase(url.substring(0, separator));
        if (!scheme.equals("http") && !scheme.equals("https")) {
            throw invalid("is not absolute with http or https", url);
        }
        String rest = before(url.substring(separator + SEPARATOR.length()), '#');
        String location = before(rest, '?');
        if (location.indexOf('\\') >= 0) {
            // Browsers read it as "/", other programs as part of the host: two readings, two pages.
            throw invalid("holds a backslash before its query", url);
        }
        String authority = before(location, '/');
        String path = behind(location, authority);
        String host = hostAndPort(authority, scheme.equals("http") ? "80" : "443", url);
        String query = withoutTracking(behind(rest, location));
        return scheme + SEPARATOR + host + "/" + path + (query.isEmpty() ? "" : "?" + query);
    }

    /**
     * Returns the host of the other site that led to a page, without port; empty when there is none.
     *
     * <p>There is none when the referrer is empty, names the page's own host, or is no absolute http or https URL. What
     * a browser sends there is another site's affair, so it is never a reason to reject a click.
     */
    static String referringHost(String referrer, String page) {
        if (referrer.isEmpty()) {
            return "";
        }
        try {
            String host = hostOf(of(referrer));
            return host.equals(hostOf(page)) ? "" : host;
        } catch (BrokenRuleException broken) {
            return "";
        }
    }

    private static String hostOf(String page) {
        String location = before(page.substring(page.indexOf(SEPARATOR) + SEPARATOR.length()), '/');
        return location.startsWith("[") ? location.substring(0, location.indexOf(']') + 1) : before(location, ':');
    }

    /** Host and port, without user name, password and default port. */
    private static String hostAndPort(String authority, String defaultPort, String url) throws BrokenRuleException {
        String location = authority.substring(authority.lastIndexOf('@') + 1);
        boolean bracketed = location.startsWith("[");
        int end = bracketed ? location.indexOf(']') + 1 : before(location, ':').length();
        String behind = location.substring(end);
        if (!behind.isEmpty() && behind.charAt(0) != ':') { // also when the bracket is not closed
            throw invalid("has a host in broken brackets", url);
        }
        String written = location.substring(0, end);
        String host = bracketed ? ipv6(written, url) : name(written, url);
        String port = behind.length() <= 1 ? defaultPort : port(behind.substring(1), url);
        return port.equals(defaultPort) ? host : host + ":" + port;
    }

    private static String port(String digits, String url) throws BrokenRuleException {
        Matcher found = PORT.matcher(digits);
        int port = found.matches() ? Integer.parseInt(found.group(1)) : MAX_PORT + 1;
        if (port > MAX_PORT) {
            throw invalid("has a port that is not a number from 0 to " + MAX_PORT, url);
        }
        return Integer.toString(port);
    }

    private static String ipv6(String host, String url) throws BrokenRuleException {
        if (!IpAddress.isIpv6(host.substring(1, host.length() - 1))) {
            throw invalid("has a host in brackets that is not an IPv6 address", url);
        }
        return lowerCase(host);
    }

    private static String name(String host, String url) throws BrokenRuleException {
        if (host.isEmpty()) {
            throw invalid("has no host", url);
        }
        String lower = lowerCase(host);
        if (ASCII_NOT_IN_HOST.matcher(lower).find()) {
            throw invalid("has a host with a character that no host has", url);
        }
        return lower;
    }

    private static String withoutTracking(String query) {
        StringBuilder kept = new StringBuilder();
        boolean first = true;
        for (String part : query.split("&", -1)) {
            if (!TRACKING_PARAMETER.matcher(part).matches()) {
                kept.append(first ? "" : "&").append(part);
                first = false;
            }
        }
        return kept.toString();
    }

    /** ASCII letters in lower case, other characters as they are: their lower case depends on the version of Unicode. */
    private static String lowerCase(String text) {
        StringBuilder lower = new StringBuilder(text);
        for (int i = 0; i < lower.length(); i++) {
            char c = lower.charAt(i);
            if (c >= 'A' && c <= 'Z') {
                lower.setCharAt(i, (char) (c + 'a' - 'A'));
            }
        }
        return lower.toString();
    }

    private static String before(String text, char delimiter) {
        int index = text.indexOf(delimiter);
        return index < 0 ? text : text.substring(0, index);
    }

    /** What follows a start of a text and the delimiter behind it; empty when nothing does. */
    private static String behind(String text, String start) {
        return text.length() <= start.length() + 1 ? "" : text.substring(start.length() + 1);
    }

    private static BrokenRuleException invalid(String problem, String url) {
        return new BrokenRuleException(Reason.INVALID_URL, "url " + problem + ": " + BrokenRuleException.shown(url));
    }
}
