package dataco.clicks;

import java.util.List;

/**
 * A schema that records were written with, as text.
 *
 * @param text the schema
 * @param references texts of the schemas that it refers to by name, each before those that need it
 * @param kind {@code AVRO}, or another type of schema that a registry holds
 */
public record WriterSchema(String text, List<String> references, String kind) {
    /** The type of schema that can be that of clicks. */
    public static final String AVRO = "AVRO";

    /** Makes a schema in Avro that refers to no other. */
    public WriterSchema(String text) {
        this(text, List.of(), AVRO);
    }
}
