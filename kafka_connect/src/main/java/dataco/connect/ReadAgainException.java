package dataco.connect;

import dataco.failures.IngestException;

/** A user was erased whose clicks may be among those just stored: they are read again, and dropped. */
final class ReadAgainException extends IngestException {
    private static final long serialVersionUID = 1L;

    ReadAgainException() {
        super("A user was erased whose clicks were just stored: these clicks are read again.", true, null);
    }
}
