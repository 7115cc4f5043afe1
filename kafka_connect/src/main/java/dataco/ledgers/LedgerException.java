package dataco.ledgers;

import dataco.failures.IngestException;

/** The offset ledger does not allow what was asked. */
public final class LedgerException extends IngestException {
    private static final long serialVersionUID = 1L;

    private LedgerException(String message, boolean passing) {
        super(message, passing, null);
    }

    /** Moving a position would jump over offsets that nobody has stored. */
    static LedgerException gap(String message) {
        return new LedgerException(message, true);
    }

    /** The topic is not this sink's to ingest. */
    static LedgerException otherOwner(String message) {
        return new LedgerException(message, false);
    }

    /** The owner changed while this sink was at work, which now may read the positions again. */
    static LedgerException ownerChanged(String message) {
        return new LedgerException(message, true);
    }
}
