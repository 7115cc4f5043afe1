package dataco.clicks;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.UUID;

/**
 * Tells how a record says by which schema it was written: not at all (JSON), or in one of Avro's three ways. The rules are
 * those of the drain ({@code dataco_assets/clicks/framing.py}): no JSON text begins like one of Avro's forms.
 */
public final class Framing {
    /** Header in which Confluent's serializers put the schema of a value; its last one counts. */
    public static final String SCHEMA_HEADER = "__value_schema_id";

    private static final byte ID = 0x00;
    private static final byte GUID = 0x01;
    private static final byte SINGLE_OBJECT = (byte) 0xC3;
    private static final byte SINGLE_OBJECT_END = 0x01;
    private static final int SINGLE_OBJECT_BYTES = 2;
    private static final int ID_END = 5;
    private static final int GUID_END = 17;
    private static final int FINGERPRINT_END = 10;
    private static final HexFormat SPACED = HexFormat.ofDelimiter(" ");

    private Framing() {}

    /**
     * The bytes that name a schema, and where the value in Avro begins.
     *
     * @param prefix names the schema
     * @param start first byte of the value
     */
    record Frame(byte[] prefix, int start) {}

    /** Returns whether a value that is not null names no schema, so that it can only be JSON. */
    static boolean isJson(byte[] value, byte[] header) {
        boolean confluent = value.length > 0 && (value[0] == ID || value[0] == GUID);
        boolean singleObject = value.length > 1 && value[0] == SINGLE_OBJECT && value[1] == SINGLE_OBJECT_END;
        return header == null && !confluent && !singleObject;
    }

    /**
     * Returns what names the schema of a value that is not JSON.
     *
     * @param header what the record's header {@link #SCHEMA_HEADER} holds; null when it has none
     * @throws BrokenRuleException it is cut short, or of a form that does not exist
     */
    static Frame frameOf(byte[] value, byte[] header) throws BrokenRuleException {
        if (header != null) {
            return new Frame(requiredHeader(header), 0);
        }
        int end = endOf(value[0]);
        if (value.length < end) {
            throw new BrokenRuleException(
                    Reason.INCOMPLETE_HEADER,
                    SPACED.formatHex(value) + ": " + value.length + " of the " + end + " bytes that name a schema");
        }
        return new Frame(Arrays.copyOf(value, end), end);
    }

    /** Returns the schema that these bytes name. */
    static SchemaReference referenceOf(byte[] prefix) {
        ByteBuffer bytes = ByteBuffer.wrap(prefix, 1, prefix.length - 1);
        return switch (prefix[0]) {
            case ID -> new SchemaReference(SchemaReference.By.ID, Integer.toUnsignedString(bytes.getInt()));
            case GUID ->
                new SchemaReference(SchemaReference.By.GUID, new UUID(bytes.getLong(), bytes.getLong()).toString());
            default ->
                new SchemaReference(
                        SchemaReference.By.FINGERPRINT,
                        HexFormat.of().formatHex(prefix, SINGLE_OBJECT_BYTES, prefix.length));
        };
    }

    private static int endOf(byte first) {
        return switch (first) {
            case ID -> ID_END;
            case GUID -> GUID_END;
            default -> FINGERPRINT_END;
        };
    }

    private static byte[] requiredHeader(byte[] header) throws BrokenRuleException {
        boolean known = header.length > 0 && (header[0] == ID || header[0] == GUID);
        if (known && header.length == endOf(header[0])) {
            return header;
        }
        String shown = header.length == 0 ? "none" : SPACED.formatHex(header, 0, Math.min(header.length, GUID_END));
        throw new BrokenRuleException(
                Reason.INCOMPLETE_HEADER,
                "header " + SCHEMA_HEADER + ": expected 00 and 4 bytes, or 01 and 16 bytes; found " + header.length
                        + " bytes: " + shown);
    }
}
