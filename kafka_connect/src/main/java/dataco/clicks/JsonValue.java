package dataco.clicks;

import java.util.List;
import java.util.Map;

/** A value in JSON, or a field of a click in Avro, as far as the contract tells values apart. */
public sealed interface JsonValue {
    /** Returns the type, with its article, for a detail. */
    String type();

    /**
     * A string.
     *
     * @param value its characters, escapes resolved; holds no lone surrogate
     */
    record Text(String value) implements JsonValue {
        @Override
        public String type() {
            return "a string";
        }
    }

    /**
     * A number without fraction and exponent, of any size.
     *
     * @param digits as written, with the sign
     */
    record WholeNumber(String digits) implements JsonValue {
        @Override
        public String type() {
            return "an integer";
        }
    }

    /**
     * An object of a document that is read as a whole.
     *
     * @param byName its members; of equal names the last
     */
    record Members(Map<String, JsonValue> byName) implements JsonValue {
        @Override
        public String type() {
            return Other.OBJECT.type();
        }
    }

    /**
     * A list of a document that is read as a whole.
     *
     * @param values what it holds
     */
    record Items(List<JsonValue> values) implements JsonValue {
        @Override
        public String type() {
            return Other.LIST.type();
        }
    }

    /** Any other value; no field of a click can have it, save that null is the same as absent. */
    enum Other implements JsonValue {
        NULL("null"),
        BOOLEAN("a boolean"),
        DECIMAL_NUMBER("a decimal number"),
        BYTES("bytes"),
        LIST("a list"),
        OBJECT("an object");

        private final String type;

        Other(String type) {
            this.type = type;
        }

        @Override
        public String type() {
            return type;
        }
    }
}
