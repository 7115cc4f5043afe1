package dataco.clicks;

/**
 * Names the schema that a record was written with.
 *
 * @param by how
 * @param value the decimal id, the GUID as text, or the fingerprint as 16 hex digits in the order of the bytes
 */
public record SchemaReference(By by, String value) {
    /** How a record names its schema. */
    public enum By {
        ID("id"),
        GUID("GUID"),
        FINGERPRINT("fingerprint");

        private final String words;

        By(String words) {
            this.words = words;
        }
    }

    @Override
    public String toString() {
        return by.words + " " + value;
    }
}
