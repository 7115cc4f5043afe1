package dataco.ledgers;

/** Why an hour became dirty, where it is not by late clicks; those of the platform's causes that the sink meets. */
public enum Cause {
    /** Clicks of an erased user were deleted. */
    ERASURE("cause_erasure"),
    /** Clicks arrived that were rejected before and sent back. */
    REPLAY("cause_replay");

    private final String cell;

    Cause(String cell) {
        this.cell = cell;
    }

    /** Returns the name of its cell in the row of an hour. */
    String cell() {
        return cell;
    }
}
