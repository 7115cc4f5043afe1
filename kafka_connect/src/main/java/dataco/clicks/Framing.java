package dataco.clicks;

/**
 * Tells clicks in JSON from those in Avro, which this sink does not read yet. The rules are those of the drain ({@code
 * dataco_assets/clicks/framing.py}): no JSON text begins like one of Avro's forms.
 */
public final class Framing {
    /** Header in which Confluent's serializers put the schema of a value. */
    public static final String SCHEMA_HEADER = "__value_schema_id";

    private static final byte GUID = 0x01;
    private static final byte SINGLE_OBJECT = (byte) 0xC3;

    private Framing() {}

    /**
     * Returns whether a value names no schema, so that it can only be JSON.
     *
     * @param value a record's value; null is a tombstone
     * @param hasSchemaHeader whether the record has the header {@link #SCHEMA_HEADER}
     */
    public static boolean isJson(byte[] value, boolean hasSchemaHeader) {
        if (value == null) {
            return true;
        }
        boolean confluent = value.length > 0 && value[0] >= 0 && value[0] <= GUID;
        boolean singleObject = value.length > 1 && value[0] == SINGLE_OBJECT && value[1] == GUID;
        return !hasSchemaHeader && !confluent && !singleObject;
    }
}
