package dataco.clicks;

import java.util.stream.Collectors;

/** The contract of a click as an Avro schema, by which producers may write without a registry. */
public final class ContractSchema {
    private ContractSchema() {}

    /** Returns the schema of the contract's first version, which is the only one. */
    public static WriterSchema version1() {
        String fields = ClickParser.NAMES.stream().map(ContractSchema::field).collect(Collectors.joining(","));
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
