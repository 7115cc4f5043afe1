package dataco.clicks;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Reads the clicks that were written with one schema. A field of the contract is the writer's field of that name, or else
 * the one that has the name among its aliases; fields unknown to the contract are read over.
 */
final class AvroClickReader {
    private static final String TIMESTAMP = "timestamp";

    private final List<Step> steps = new ArrayList<>();

    /**
     * How one field of the writer is read.
     *
     * @param name the contract's name of it; null when that does not know it
     */
    private record Step(String name, AvroValueReader reader) {}

    AvroClickReader(WriterSchema schema) throws UnsuitableSchemaException {
        if (!schema.kind().equals(WriterSchema.AVRO)) {
            throw new UnsuitableSchemaException("a schema of type " + schema.kind() + ", not AVRO");
        }
        Map<String, AvroType> named = new HashMap<>();
        for (String reference : schema.references()) {
            AvroSchemaParser.parse(reference, named);
        }
        if (!(AvroSchemaParser.parse(schema.text(), named) instanceof AvroType.Structure type) || type.isError()) {
            throw new UnsuitableSchemaException("not a record");
        }
        Map<String, String> names = names(type);
        for (String required : ClickParser.REQUIRED) {
            if (!names.containsValue(required)) {
                throw new UnsuitableSchemaException("no field " + required);
            }
        }
        AvroReaders readers = new AvroReaders(named);
        for (AvroType.Field field : type.fields()) {
            steps.add(step(names.get(field.name()), field.type(), readers));
        }
    }

    /** Returns the contract's fields in a record, by name. */
    Map<String, JsonValue> read(byte[] value, int start) throws BrokenRuleException {
        AvroBytes bytes = new AvroBytes(value, start);
        Map<String, JsonValue> fields = new HashMap<>();
        for (Step step : steps) {
            JsonValue found = step.reader().read(bytes, 1);
            if (step.name() != null) {
                fields.put(step.name(), found);
            }
        }
        bytes.requireEnd();
        return fields;
    }

    /** Which fields of the writer are which of the contract, by the writer's name. */
    private static Map<String, String> names(AvroType.Structure type) throws UnsuitableSchemaException {
        Set<String> own = new HashSet<>();
        for (AvroType.Field field : type.fields()) {
            if (field.name() == null) {
                throw new UnsuitableSchemaException("no Avro schema: the name of a field is no text");
            }
            own.add(field.name());
        }
        if (own.size() < type.fields().size()) {
            throw new UnsuitableSchemaException("no Avro schema: two fields of the same name");
        }
        Map<String, String> names = new HashMap<>();
        for (String name : ClickParser.NAMES) {
            if (own.contains(name)) {
                names.put(name, name);
                continue;
            }
            List<String> found = type.fields().stream()
                    .filter(field -> field.aliases().contains(name))
                    .map(AvroType.Field::name)
                    .toList();
            boolean taken =
                    found.stream().anyMatch(each -> names.containsKey(each) || ClickParser.NAMES.contains(each));
            if (found.size() > 1 || taken) {
                throw new UnsuitableSchemaException(
                        name + " is an alias of " + String.join(" and ", found) + ", so it is not clear which");
            }
            found.forEach(each -> names.put(each, name));
        }
        return names;
    }

    private static Step step(String name, AvroType type, AvroReaders readers) throws UnsuitableSchemaException {
        if (name == null) {
            return new Step(null, readers.of(type, AvroReaders.Use.NOTHING));
        }
        AvroReaders.Use use = name.equals(TIMESTAMP) ? AvroReaders.Use.TIMESTAMP : AvroReaders.Use.TEXT;
        boolean alwaysAbsent = !ClickParser.REQUIRED.contains(name) && readers.isNullable(type);
        if (!readers.isSuitable(type, use) && !alwaysAbsent) {
            throw new UnsuitableSchemaException("field " + name + " holds no value that is "
                    + (use == AvroReaders.Use.TIMESTAMP ? "a timestamp" : "a text"));
        }
        return new Step(name, readers.of(type, use));
    }
}
