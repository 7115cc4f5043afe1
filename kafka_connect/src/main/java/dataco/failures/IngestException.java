package dataco.failures;

/** A failure that lies in no single record. Its message is for a person: it names the thing and the way out. */
public abstract class IngestException extends Exception {
    private static final long serialVersionUID = 1L;

    private final boolean passing;

    /** Describes a failure; the cause may be null. */
    protected IngestException(String message, boolean passing, Throwable cause) {
        super(message, cause);
        this.passing = passing;
    }

    /** Returns whether trying again later may help; also for what is ambiguous, so that no outage needs a person. */
    public final boolean isPassing() {
        return passing;
    }
}
