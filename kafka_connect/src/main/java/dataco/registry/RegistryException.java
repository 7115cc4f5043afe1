package dataco.registry;

import dataco.failures.IngestException;

/** The schema of a record cannot be told, which is no fault of the record: nothing is rejected. */
public final class RegistryException extends IngestException {
    private static final long serialVersionUID = 1L;

    private RegistryException(String message, boolean passing, Throwable cause) {
        super(message, passing, cause);
    }

    static RegistryException passing(String message, Throwable cause) {
        return new RegistryException(message, true, cause);
    }

    static RegistryException permanent(String message, Throwable cause) {
        return new RegistryException(message, false, cause);
    }
}
