package dataco.clicks;

import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The contract of a click as an Avro schema, by which producers may write without a registry. */
public final class ContractSchema {
    /** The last field of each version, the first version first. */
    private static final List<String> LAST_FIELDS = List.of("device", "referrer");

    private ContractSchema() {}

    /** Returns the schemas of all versions of the contract, the first one first. */
    public static Stream<WriterSchema> versions() {
        return LAST_FIELDS.stream()
                .map(last -> schema(ClickParser.NAMES.subList(0, ClickParser.NAMES.indexOf(last) + 1)));
    }

    private static WriterSchema schema(List<String> names) {
        String fields = names.stream().map(ContractSchema::field).collect(Collectors.joining(","));
        return new WriterSchema(
                "{\"type\":\"record\",\"namespace\":\"dataco\",\"name\":\"Click\",\"fields\":[" + fields + "]}");
    }

    private static String field(String name) {
        String type = name.equals("timestamp")
                ? "{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}"
                : ClickParser.REQUIRED.contains(name) ? "\"string\"" : "[\"null\",\"string\"]";
        return "{\"name\":\"" + name + "\",\"type\":" + type + "}";
    }
}
