package dataco.clicks;

/**
 * Why a record is not stored as a click.
 *
 * @param reason the rule it breaks
 * @param detail what was found, for a person: at most 200 printable ASCII characters whatever it is made from, so that
 *     it is safe in a header, a log and a terminal
 */
public record Rejection(Reason reason, String detail) implements Verdict {
    private static final int MAX_DETAIL = 200;
    private static final String CUT = "...";

    /** Makes the detail printable and cuts it. */
    public Rejection {
        detail = printable(detail);
    }

    private static String printable(String text) {
        StringBuilder escaped = new StringBuilder();
        for (int i = 0; i < text.length() && escaped.length() <= MAX_DETAIL; i++) {
            char c = text.charAt(i);
            if (c >= ' ' && c <= '~') {
                escaped.append(c);
            } else {
                escaped.append(String.format("\\u%04x", (int) c));
            }
        }
        if (escaped.length() > MAX_DETAIL) {
            escaped.replace(MAX_DETAIL - CUT.length(), escaped.length(), CUT);
        }
        return escaped.toString();
    }
}
