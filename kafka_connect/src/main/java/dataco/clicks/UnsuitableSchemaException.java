package dataco.clicks;

/** Nothing that is written with this schema can be a click; the message says why. */
public final class UnsuitableSchemaException extends Exception {
    private static final long serialVersionUID = 1L;

    UnsuitableSchemaException(String message) {
        super(message);
    }
}
