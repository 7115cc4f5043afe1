package dataco.clicks;

/** A value of a JSON object as far as the contract tells values apart. */
sealed interface JsonValue {
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

    /** Any other value; no field of a click can have it, save that null is the same as absent. */
    enum Other implements JsonValue {
        NULL("null"),
        BOOLEAN("a boolean"),
        DECIMAL_NUMBER("a decimal number"),
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
