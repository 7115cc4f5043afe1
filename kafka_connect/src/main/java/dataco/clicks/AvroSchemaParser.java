package dataco.clicks;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * Reads the text of an Avro schema.
 *
 * <p>Own code, and not Avro's library, because a schema must be suitable here exactly when it is for the drain, whose
 * parser is fastavro's: that one takes names, defaults and unions that the library refuses, and does without checks that
 * the library makes. Decoding is own code as well, as in Python ({@code dataco_assets/clicks/avro.py}): ten bytes can
 * announce 2^62 items, and the text of a value must be had as it was sent.
 */
final class AvroSchemaParser {
    /** Names of the types that need no definition. */
    static final Set<String> PRIMITIVES =
            Set.of("null", "boolean", "int", "long", "float", "double", "bytes", "string");

    private static final Set<String> LOGICAL_TYPES = Set.of(
            "decimal",
            "uuid",
            "date",
            "duration",
            "time-millis",
            "time-micros",
            "timestamp-millis",
            "timestamp-micros",
            "timestamp-nanos",
            "local-timestamp-millis",
            "local-timestamp-micros",
            "local-timestamp-nanos");
    private static final String DECIMAL = "decimal";
    private static final Pattern SYMBOL = Pattern.compile("[A-Za-z_][A-Za-z0-9_]*");
    private static final Pattern DECIMAL_NUMBER =
            Pattern.compile("(?i)\\s*[+-]?(inf(inity)?|nan|([0-9]+\\.?[0-9]*|\\.[0-9]+)(e[+-]?[0-9]+)?)\\s*");
    private static final JsonValue NO_DEFAULT = null;
    private static final int BITS_PER_BYTE = 8;

    private final Map<String, AvroType> named;
    private final Set<String> defined = new HashSet<>();

    private AvroSchemaParser(Map<String, AvroType> named) {
        this.named = named;
    }

    /**
     * Returns the type that a text describes.
     *
     * @param named the named types that are known already, by full name; those of the text are added
     */
    static AvroType parse(String text, Map<String, AvroType> named) throws UnsuitableSchemaException {
        JsonValue schema = JsonReader.document(text).orElseThrow(() -> new UnsuitableSchemaException("no JSON"));
        return parse(schema, named);
    }

    private static AvroType parse(JsonValue schema, Map<String, AvroType> named) throws UnsuitableSchemaException {
        if (!(schema instanceof JsonValue.Items union)) {
            return new AvroSchemaParser(named).type(schema, "", NO_DEFAULT);
        }
        List<AvroType> branches = new ArrayList<>();
        for (JsonValue branch : union.values()) {
            branches.add(parse(branch, named)); // each defines names of its own
        }
        return new AvroType.Union(branches);
    }

    private AvroType type(JsonValue schema, String namespace, JsonValue preset) throws UnsuitableSchemaException {
        if (schema instanceof JsonValue.Items union) {
            return union(union.values(), namespace, preset);
        }
        if (schema instanceof JsonValue.Text name) {
            return named(name.value(), namespace, preset);
        }
        if (schema instanceof JsonValue.Members definition) {
            return definition(definition.byName(), namespace, preset);
        }
        throw noSchema("a type that is " + schema.type());
    }

    private AvroType union(List<JsonValue> schemas, String namespace, JsonValue preset)
            throws UnsuitableSchemaException {
        List<AvroType> branches = new ArrayList<>();
        for (JsonValue schema : schemas) {
            branches.add(type(schema, namespace, NO_DEFAULT));
        }
        // A default is compared with branches that are primitive types by name; any other takes all.
        require(
                preset == null
                        || branches.stream()
                                .anyMatch(branch -> !(branch instanceof AvroType.Named primitive)
                                        || isValue(preset, primitive.name())),
                "a default that is of no type of its union");
        return new AvroType.Union(branches);
    }

    private AvroType named(String name, String namespace, JsonValue preset) throws UnsuitableSchemaException {
        if (PRIMITIVES.contains(name)) {
            require(preset == null || isValue(preset, name), "a default that is no " + name);
            return new AvroType.Named(name);
        }
        String full = name.indexOf('.') < 0 && !namespace.isEmpty() ? namespace + "." + name : name;
        require(defined.contains(full) || named.containsKey(full), "unknown type " + full);
        return new AvroType.Named(full);
    }

    private AvroType definition(Map<String, JsonValue> members, String namespace, JsonValue preset)
            throws UnsuitableSchemaException {
        String kind = text(members, "type");
        if (members.get("logicalType") instanceof JsonValue.Text logical
                && logical.value().equals(DECIMAL)) {
            requireDecimal(members, kind);
        }
        require(preset == null || isPreset(preset, kind), "a default that is of no type " + kind);
        return switch (kind) {
            case "array" -> new AvroType.Array(type(member(members, "items"), namespace, NO_DEFAULT));
            case "map" -> new AvroType.Dictionary(type(member(members, "values"), namespace, NO_DEFAULT));
            case "enum", "fixed" -> plain(kind, members, namespace);
            case "record", "error" -> structure(members, namespace, kind.equals("error"));
            default -> {
                require(PRIMITIVES.contains(kind), "unknown type " + kind);
                yield new AvroType.Primitive(kind, logical(members));
            }
        };
    }

    /** Whether a default can be that of a type which is written out. */
    private static boolean isPreset(JsonValue preset, String kind) {
        return switch (kind) {
            case "array" -> preset instanceof JsonValue.Items;
            case "map", "record", "error" -> preset instanceof JsonValue.Members;
            case "enum", "fixed" -> preset instanceof JsonValue.Text;
            default -> isExactValue(preset, kind);
        };
    }

    private AvroType plain(String kind, Map<String, JsonValue> members, String namespace)
            throws UnsuitableSchemaException {
        String name = defineName(members, namespace);
        AvroType type = kind.equals("enum") ? enumeration(name, members) : fixed(name, members);
        named.put(name, type);
        return type;
    }

    private AvroType structure(Map<String, JsonValue> members, String namespace, boolean isError)
            throws UnsuitableSchemaException {
        String name = defineName(members, namespace);
        String inner = name.indexOf('.') < 0 ? "" : name.substring(0, name.lastIndexOf('.'));
        List<AvroType.Field> fields = new ArrayList<>();
        for (JsonValue field : fields(members)) {
            fields.add(field(field, inner));
        }
        AvroType type = new AvroType.Structure(name, fields, isError);
        named.put(name, type);
        return type;
    }

    private static List<JsonValue> fields(Map<String, JsonValue> members) throws UnsuitableSchemaException {
        if (member(members, "fields") instanceof JsonValue.Items items) {
            return items.values();
        }
        throw noSchema("fields that are no list");
    }

    private AvroType.Field field(JsonValue field, String namespace) throws UnsuitableSchemaException {
        if (!(field instanceof JsonValue.Members members)) {
            throw noSchema("a field that is " + field.type());
        }
        String name = member(members.byName(), "name") instanceof JsonValue.Text text ? text.value() : null;
        JsonValue type = member(members.byName(), "type");
        List<String> aliases = new ArrayList<>();
        JsonValue found = members.byName().get("aliases");
        require(found == null || found instanceof JsonValue.Items, "aliases that are no list");
        if (found instanceof JsonValue.Items items) {
            items.values().forEach(alias -> {
                if (alias instanceof JsonValue.Text other) {
                    aliases.add(other.value());
                }
            });
        }
        return new AvroType.Field(
                name, aliases, type(type, namespace, members.byName().get("default")));
    }

    private static AvroType enumeration(String name, Map<String, JsonValue> members) throws UnsuitableSchemaException {
        List<String> symbols = new ArrayList<>();
        if (!(member(members, "symbols") instanceof JsonValue.Items items)) {
            throw noSchema("symbols that are no list");
        }
        for (JsonValue item : items.values()) {
            boolean sound = item instanceof JsonValue.Text text
                    && SYMBOL.matcher(text.value()).matches()
                    && !symbols.contains(text.value());
            require(sound, "a symbol that is no name, or there twice");
            symbols.add(((JsonValue.Text) item).value());
        }
        JsonValue preset = members.get("default");
        require(
                preset == null || preset instanceof JsonValue.Text text && symbols.contains(text.value()),
                "a default that is no symbol");
        return new AvroType.Enumeration(name, symbols);
    }

    private static AvroType fixed(String name, Map<String, JsonValue> members) throws UnsuitableSchemaException {
        BigInteger size = whole(member(members, "size"), "size");
        require(size.signum() >= 0, "a fixed of negative size");
        long bytes = size.min(BigInteger.valueOf(Integer.MAX_VALUE)).longValue(); // no record is as long
        return new AvroType.Fixed(name, bytes, logical(members));
    }

    private static void requireDecimal(Map<String, JsonValue> members, String kind) throws UnsuitableSchemaException {
        BigInteger scale = natural(members, "scale");
        BigInteger precision = natural(members, "precision");
        if (precision.signum() == 0) {
            return;
        }
        require(precision.compareTo(scale) >= 0, "a scale above the precision");
        if (kind.equals("fixed")) {
            double bits = BITS_PER_BYTE * whole(member(members, "size"), "size").doubleValue() - 1;
            require(
                    precision.doubleValue() <= Math.floor(Math.log10(2) * bits),
                    "a precision for which the size is too small");
        }
    }

    /** A number that may be missing: then it is 0. */
    private static BigInteger natural(Map<String, JsonValue> members, String name) throws UnsuitableSchemaException {
        JsonValue found = members.get(name);
        if (found == null || isEmpty(found)) {
            return BigInteger.ZERO;
        }
        BigInteger number = whole(found, name);
        require(number.signum() >= 0, name + " " + number);
        return number;
    }

    private static BigInteger whole(JsonValue value, String name) throws UnsuitableSchemaException {
        if (value instanceof JsonValue.WholeNumber number) {
            return new BigInteger(number.digits());
        }
        throw noSchema(name + " is " + value.type());
    }

    /** Whether a value counts as none where fastavro asks for its truth. */
    private static boolean isEmpty(JsonValue value) {
        return value == JsonValue.Other.NULL
                || value instanceof JsonValue.WholeNumber number && new BigInteger(number.digits()).signum() == 0
                || value instanceof JsonValue.Text text && text.value().isEmpty()
                || value instanceof JsonValue.Items items && items.values().isEmpty()
                || value instanceof JsonValue.Members members
                        && members.byName().isEmpty();
    }

    /** The full name that a type is defined by, which the text has not defined yet. */
    private String defineName(Map<String, JsonValue> members, String parent) throws UnsuitableSchemaException {
        String name = text(members, "name");
        JsonValue own = members.get("namespace");
        String namespace = own == null ? parent : own == JsonValue.Other.NULL ? "" : text(members, "namespace");
        String full = name.indexOf('.') < 0 && !namespace.isEmpty() ? namespace + "." + name : name;
        require(defined.add(full), "two types of the name " + full);
        return full;
    }

    private static String logical(Map<String, JsonValue> members) {
        boolean known =
                members.get("logicalType") instanceof JsonValue.Text text && LOGICAL_TYPES.contains(text.value());
        return known ? ((JsonValue.Text) members.get("logicalType")).value() : null;
    }

    private static boolean isValue(JsonValue value, String kind) {
        if (kind.equals("float") || kind.equals("double")) {
            return value == JsonValue.Other.DECIMAL_NUMBER
                    || value == JsonValue.Other.BOOLEAN
                    || value instanceof JsonValue.WholeNumber
                    || value instanceof JsonValue.Text text
                            && DECIMAL_NUMBER.matcher(text.value()).matches();
        }
        return !PRIMITIVES.contains(kind) || isExactValue(value, kind);
    }

    private static boolean isExactValue(JsonValue value, String kind) {
        return switch (kind) {
            case "null" -> value == JsonValue.Other.NULL;
            case "boolean" -> value == JsonValue.Other.BOOLEAN;
            case "string", "bytes" -> value instanceof JsonValue.Text;
            case "float", "double" -> value == JsonValue.Other.DECIMAL_NUMBER;
            default -> value instanceof JsonValue.WholeNumber || value == JsonValue.Other.BOOLEAN;
        };
    }

    private static JsonValue member(Map<String, JsonValue> members, String name) throws UnsuitableSchemaException {
        JsonValue found = members.get(name);
        require(found != null, "no " + name);
        return found;
    }

    private static String text(Map<String, JsonValue> members, String name) throws UnsuitableSchemaException {
        if (member(members, name) instanceof JsonValue.Text text) {
            return text.value();
        }
        throw noSchema(name + " is " + members.get(name).type());
    }

    private static void require(boolean holds, String otherwise) throws UnsuitableSchemaException {
        if (!holds) {
            throw noSchema(otherwise);
        }
    }

    private static UnsuitableSchemaException noSchema(String why) {
        return new UnsuitableSchemaException("no Avro schema: " + why);
    }
}
