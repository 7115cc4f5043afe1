package dataco.connect;

import dataco.failures.IngestException;

/** So many clicks are rejected that the producer, rather than single clicks, is probably at fault. */
final class TooManyRejectedException extends IngestException {
    private static final long serialVersionUID = 1L;

    TooManyRejectedException(String message) {
        super(message, false, null);
    }
}
