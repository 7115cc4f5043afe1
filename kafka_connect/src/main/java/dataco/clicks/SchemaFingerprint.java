package dataco.clicks;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Function;
import java.util.stream.Collectors;

/** The fingerprint by which Avro's single-object encoding names a schema: CRC-64-AVRO of its canonical form. */
public final class SchemaFingerprint {
    private static final long EMPTY = 0xC15D213AA4D7A795L;

    private SchemaFingerprint() {}

    /** Returns the fingerprint of a schema, 16 hex digits in the order of the bytes. */
    public static String of(String schema) throws UnsuitableSchemaException {
        byte[] canonical =
                canonical(AvroSchemaParser.parse(schema, new HashMap<>())).getBytes(StandardCharsets.UTF_8);
        long hash = EMPTY;
        for (byte each : canonical) {
            hash ^= each & 0xFF;
            for (int bit = 0; bit < Byte.SIZE; bit++) {
                hash = (hash >>> 1) ^ (EMPTY & -(hash & 1));
            }
        }
        return HexFormat.of()
                .formatHex(ByteBuffer.allocate(Long.BYTES)
                        .order(ByteOrder.LITTLE_ENDIAN)
                        .putLong(hash)
                        .array());
    }

    private static String canonical(AvroType type) {
        if (type instanceof AvroType.Union union) {
            return list(union.branches(), SchemaFingerprint::canonical);
        }
        if (type instanceof AvroType.Array array) {
            return "{\"type\":\"array\",\"items\":" + canonical(array.items()) + "}";
        }
        if (type instanceof AvroType.Dictionary map) {
            return "{\"type\":\"map\",\"values\":" + canonical(map.values()) + "}";
        }
        if (type instanceof AvroType.Enumeration enumeration) {
            String symbols = list(enumeration.symbols(), SchemaFingerprint::quoted);
            return named(enumeration.name(), "enum") + ",\"symbols\":" + symbols + "}";
        }
        if (type instanceof AvroType.Fixed fixed) {
            return named(fixed.name(), "fixed") + ",\"size\":" + fixed.size() + "}";
        }
        if (type instanceof AvroType.Structure structure) {
            String fields = list(
                    structure.fields(),
                    field -> "{\"name\":" + quoted(field.name()) + ",\"type\":" + canonical(field.type()) + "}");
            return named(structure.name(), "record") + ",\"fields\":" + fields + "}";
        }
        return quoted(type.primitive());
    }

    private static String named(String name, String kind) {
        return "{\"name\":" + quoted(name) + ",\"type\":" + quoted(kind);
    }

    private static <T> String list(List<T> items, Function<T, String> text) {
        return items.stream().map(text).collect(Collectors.joining(",", "[", "]"));
    }

    private static String quoted(String text) {
        return "\"" + text + "\"";
    }
}
