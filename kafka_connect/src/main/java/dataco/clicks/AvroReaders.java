package dataco.clicks;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Makes the readers of a schema's types, each named record once. */
final class AvroReaders {
    /** What a value is read for; it decides which types may hold one. */
    enum Use {
        TEXT,
        TIMESTAMP,
        NOTHING
    }

    private static final Map<String, Long> PER_MILLISECOND =
            Map.of("timestamp-millis", 1L, "timestamp-micros", 1_000L, "timestamp-nanos", 1_000_000L);
    private static final int UUID_BYTES = 16;
    private static final int FLOAT_BYTES = 4;
    private static final int DOUBLE_BYTES = 8;

    /** Types that need each other in a row. Those of records in one text do so less often, as they lie in JSON. */
    private static final int DEEPEST = 250;

    private final Map<String, AvroType> named;
    private final Map<String, AvroValueReader> made = new HashMap<>();
    private final Map<String, Boolean> empty = new HashMap<>();
    private int deep;

    AvroReaders(Map<String, AvroType> named) {
        this.named = named;
    }

    /** The type itself in place of its name. */
    AvroType resolved(AvroType type) {
        return type instanceof AvroType.Named name ? named.getOrDefault(name.name(), type) : type;
    }

    /** Whether a type, or a branch of a union, has values that can be used so. */
    boolean isSuitable(AvroType type, Use use) {
        AvroType found = resolved(type);
        return found instanceof AvroType.Union union
                ? union.branches().stream().anyMatch(branch -> suitable(resolved(branch), use) != null)
                : suitable(found, use) != null;
    }

    /** Whether a type, or a branch of a union, is null. */
    boolean isNullable(AvroType type) {
        AvroType found = resolved(type);
        return found instanceof AvroType.Union union
                ? union.branches().stream()
                        .anyMatch(branch -> resolved(branch).primitive().equals("null"))
                : found.primitive().equals("null");
    }

    /** A reader of any type. */
    AvroValueReader of(AvroType type, Use use) throws UnsuitableSchemaException {
        descend();
        AvroType found = resolved(type);
        AvroValueReader reader =
                found instanceof AvroType.Union union ? ofUnion(union.branches(), use) : suitable(found, use);
        if (reader == null) {
            AvroValueReader other = ofAny(found);
            reader = use == Use.TIMESTAMP ? foreign(other) : other;
        }
        deep--;
        return reader;
    }

    private void descend() throws UnsuitableSchemaException {
        deep++;
        if (deep > DEEPEST) {
            throw new UnsuitableSchemaException("more than " + DEEPEST + " types that need each other");
        }
    }

    private AvroValueReader ofUnion(List<AvroType> branches, Use use) throws UnsuitableSchemaException {
        List<AvroValueReader> readers = new ArrayList<>();
        for (AvroType branch : branches) {
            readers.add(of(branch, use));
        }
        return (bytes, depth) ->
                readers.get(bytes.index(readers.size(), "branch")).read(bytes, depth);
    }

    /** A reader of what the use asks for; null for a type that has no such values. */
    private static AvroValueReader suitable(AvroType type, Use use) {
        return switch (use) {
            case TEXT -> text(type);
            case TIMESTAMP -> timestamp(type);
            case NOTHING -> null;
        };
    }

    private static AvroValueReader text(AvroType type) {
        String kind = type.primitive();
        if (kind.equals("string") || kind.equals("bytes") && type.logical() == null) {
            return (bytes, depth) -> new JsonValue.Text(bytes.text());
        }
        if (type instanceof AvroType.Enumeration enumeration) {
            return symbol(enumeration.symbols());
        }
        boolean uuid =
                type instanceof AvroType.Fixed fixed && "uuid".equals(fixed.logical()) && fixed.size() == UUID_BYTES;
        return uuid ? (bytes, depth) -> new JsonValue.Text(bytes.uuid()) : null;
    }

    private static AvroValueReader timestamp(AvroType type) {
        String logical = type.logical();
        return switch (type.primitive()) {
            case "string" -> (bytes, depth) -> new JsonValue.Text(bytes.text());
            case "int" -> logical == null ? AvroReaders::readInt : null;
            case "long" -> {
                long units = logical == null ? 1L : PER_MILLISECOND.getOrDefault(logical, 0L);
                yield units == 0 ? null : (bytes, depth) -> whole(Math.floorDiv(bytes.number(), units));
            }
            default -> null;
        };
    }

    private AvroValueReader ofAny(AvroType type) throws UnsuitableSchemaException {
        if (type instanceof AvroType.Structure structure) {
            return record(structure);
        }
        if (type instanceof AvroType.Array array) {
            return blocks(isEmpty(array.items()) ? null : of(array.items(), Use.NOTHING), JsonValue.Other.LIST);
        }
        if (type instanceof AvroType.Dictionary map) {
            AvroValueReader values = of(map.values(), Use.NOTHING);
            return blocks(
                    (bytes, depth) -> {
                        bytes.text();
                        return values.read(bytes, depth);
                    },
                    JsonValue.Other.OBJECT);
        }
        if (type instanceof AvroType.Enumeration enumeration) {
            return symbol(enumeration.symbols());
        }
        if (type instanceof AvroType.Fixed fixed) {
            return skipping(fixed.size(), JsonValue.Other.BYTES);
        }
        return primitive(type.primitive());
    }

    private static AvroValueReader primitive(String kind) {
        return switch (kind) {
            case "null" -> skipping(0, JsonValue.Other.NULL);
            case "boolean" -> skipping(1, JsonValue.Other.BOOLEAN);
            case "int" -> AvroReaders::readInt;
            case "long" -> (bytes, depth) -> whole(bytes.number());
            case "float" -> skipping(FLOAT_BYTES, JsonValue.Other.DECIMAL_NUMBER);
            case "double" -> skipping(DOUBLE_BYTES, JsonValue.Other.DECIMAL_NUMBER);
            case "bytes" ->
                (bytes, depth) -> {
                    bytes.skipBytes();
                    return JsonValue.Other.BYTES;
                };
            default -> (bytes, depth) -> new JsonValue.Text(bytes.text());
        };
    }

    private AvroValueReader record(AvroType.Structure type) throws UnsuitableSchemaException {
        if (type.isError()) {
            throw new UnsuitableSchemaException("a type error, which no data has");
        }
        if (isEmpty(type)) { // as its fields may be such records again, and theirs
            return skipping(0, JsonValue.Other.OBJECT);
        }
        AvroValueReader known = made.get(type.name());
        if (known != null) {
            return known;
        }
        List<AvroValueReader> members = new ArrayList<>();
        AvroValueReader reader = (bytes, depth) -> {
            refuseDepth(depth);
            for (AvroValueReader member : members) {
                member.read(bytes, depth + 1);
            }
            return JsonValue.Other.OBJECT;
        };
        made.put(type.name(), reader); // before its fields, among which it may be
        for (AvroType.Field field : type.fields()) {
            AvroValueReader member = of(field.type(), Use.NOTHING);
            if (!isEmpty(field.type())) { // others could be read over any number of times without a byte being used up
                members.add(member);
            }
        }
        return reader;
    }

    /** Whether the values of a type have no bytes. */
    private boolean isEmpty(AvroType type) throws UnsuitableSchemaException {
        AvroType found = resolved(type);
        if (!(found instanceof AvroType.Structure structure)) {
            return found.primitive().equals("null") || found instanceof AvroType.Fixed fixed && fixed.size() == 0;
        }
        Boolean known =
                structure.isError() ? Boolean.FALSE : empty.get(structure.name()); // its reader refuses an error
        if (known != null) {
            return known;
        }
        descend();
        empty.put(structure.name(), false); // for a record inside itself
        boolean all = true;
        for (AvroType.Field field : structure.fields()) {
            all = all && isEmpty(field.type());
        }
        empty.put(structure.name(), all);
        deep--;
        return all;
    }

    /**
     * A reader of an array or a map.
     *
     * @param item reads an item; null when items have no bytes, of which a few bytes can announce any number
     */
    private static AvroValueReader blocks(AvroValueReader item, JsonValue found) {
        return (bytes, depth) -> {
            refuseDepth(depth);
            for (long count = bytes.number(); count != 0; count = bytes.number()) {
                if (count < 0) {
                    bytes.number(); // the size of the block, for those that skip it
                }
                for (long left = item == null ? 0 : Math.abs(count); left != 0; left--) {
                    item.read(bytes, depth + 1);
                }
            }
            return found;
        };
    }

    private static AvroValueReader symbol(List<String> symbols) {
        return (bytes, depth) -> new JsonValue.Text(symbols.get(bytes.index(symbols.size(), "symbol")));
    }

    private static AvroValueReader skipping(long size, JsonValue found) {
        return (bytes, depth) -> {
            bytes.skip(size);
            return found;
        };
    }

    /** A reader whose values are none that a timestamp can be: not the number of a date, not the text of a symbol. */
    private static AvroValueReader foreign(AvroValueReader reader) {
        return (bytes, depth) ->
                reader.read(bytes, depth) == JsonValue.Other.NULL ? JsonValue.Other.NULL : JsonValue.Other.OBJECT;
    }

    private static JsonValue readInt(AvroBytes bytes, int depth) throws BrokenRuleException {
        long number = bytes.number();
        if (number != (int) number) {
            throw AvroBytes.malformed("an int of more than 32 bits");
        }
        return whole(number);
    }

    private static JsonValue whole(long number) {
        return new JsonValue.WholeNumber(Long.toString(number));
    }

    private static void refuseDepth(int depth) throws BrokenRuleException {
        if (depth >= JsonReader.MAX_DEPTH) {
            throw AvroBytes.malformed(
                    "more than " + JsonReader.MAX_DEPTH + " records, arrays and maps inside each other");
        }
    }
}
