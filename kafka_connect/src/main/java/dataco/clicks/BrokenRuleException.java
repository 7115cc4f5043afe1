package dataco.clicks;

/** A rule of the contract that a record breaks; thrown and caught inside this package. */
final class BrokenRuleException extends Exception {
    private static final long serialVersionUID = 1L;
    private static final int MAX_SHOWN = 60;

    private final Reason reason;

    BrokenRuleException(Reason reason, String detail) {
        super(detail, null, false, false); // no stack trace: it costs more than decoding a click
        this.reason = reason;
    }

    Rejection rejection() {
        return new Rejection(reason, getMessage());
    }

    /** Returns the start of a value in quotes, for a detail. */
    static String shown(String value) {
        return value.length() <= MAX_SHOWN ? "'" + value + "'" : "'" + value.substring(0, MAX_SHOWN) + "...'";
    }
}
