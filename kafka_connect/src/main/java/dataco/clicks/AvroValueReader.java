package dataco.clicks;

/** Reads a value of one type. */
@FunctionalInterface
interface AvroValueReader {
    /**
     * Returns the value.
     *
     * @param depth how many records, arrays and maps it lies in
     */
    JsonValue read(AvroBytes bytes, int depth) throws BrokenRuleException;
}
