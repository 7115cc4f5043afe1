package dataco.clicks;

import java.util.List;

/** A type of an Avro schema. Named types lie inside each other by their names only. */
sealed interface AvroType {
    /**
     * A type by its name alone: a primitive one, or one that is defined elsewhere.
     *
     * @param name with its namespace
     */
    record Named(String name) implements AvroType {}

    /**
     * A primitive type.
     *
     * @param kind its name
     * @param logical its logical type, when Avro defines that; otherwise null
     */
    record Primitive(String kind, String logical) implements AvroType {}

    /** One of several types. */
    record Union(List<AvroType> branches) implements AvroType {}

    /** Any number of items. */
    record Array(AvroType items) implements AvroType {}

    /** A map from texts. */
    record Dictionary(AvroType values) implements AvroType {}

    /** One of several names. */
    record Enumeration(String name, List<String> symbols) implements AvroType {}

    /**
     * So many bytes.
     *
     * @param logical its logical type, when Avro defines that; otherwise null
     */
    record Fixed(String name, long size, String logical) implements AvroType {}

    /**
     * A record.
     *
     * @param isError whether its type is {@code error}, which no data has
     */
    record Structure(String name, List<Field> fields, boolean isError) implements AvroType {}

    /**
     * A field of a record.
     *
     * @param name null when it is no text, which only a record inside the click may have
     * @param aliases other names of it
     */
    record Field(String name, List<String> aliases, AvroType type) {}

    /** Returns the name of a primitive type; empty for another. */
    default String primitive() {
        if (this instanceof Named named) {
            return named.name();
        }
        return this instanceof Primitive primitive ? primitive.kind() : "";
    }

    /** Returns the logical type of a primitive one; null when it has none. */
    default String logical() {
        return null;
    }
}
