package dataco.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dataco.clicks.SchemaReference;
import dataco.clicks.WriterSchema;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Schemas that no registry has. The fingerprints are those that Python's fastavro computes. */
class KnownSchemasTest {
    private static final SchemaReference CONTRACT =
            new SchemaReference(SchemaReference.By.FINGERPRINT, "e55451aa660bf2cb");
    private static final SchemaReference VIEW = new SchemaReference(SchemaReference.By.FINGERPRINT, "538c2a4c77a314f2");
    private static final String TEXT = """
            {"type": "record", "name": "View", "namespace": "x", "doc": "d", "fields": [{"name": "kind", "type": {"type": "enum", "name": "K", "symbols": ["A", "B"], "doc": "e"}}\
            , {"name": "again", "type": ["null", "K"], "default": null}\
            , {"name": "id", "type": {"type": "fixed", "name": "y.F", "size": 4}}\
            , {"name": "m", "type": {"type": "map", "values": {"type": "long", "logicalType": "timestamp-millis"}}}\
            , {"name": "l", "type": {"type": "array", "items": {"type": "string"}}}\
            , {"name": "in", "type": {"type": "record", "name": "In", "fields": [{"name": "next", "type": ["null", "In"]}]}}]}""";

    @Test
    void theContractIsKnown() throws RegistryException {
        assertTrue(new KnownSchemas(Optional.empty(), "").find(CONTRACT).isPresent());
        assertEquals(Optional.empty(), new KnownSchemas(Optional.empty(), "").find(VIEW));
    }

    @Test
    void filesOfTheFolder(@TempDir Path folder) throws IOException, RegistryException {
        Files.writeString(folder.resolve("view.avsc"), TEXT);
        Files.writeString(folder.resolve("other.txt"), "no schema");
        KnownSchemas schemas = new KnownSchemas(Optional.empty(), folder.toString());
        assertEquals(Optional.of(new WriterSchema(TEXT)), schemas.find(VIEW));
        assertTrue(schemas.find(CONTRACT).isPresent());
        Files.writeString(folder.resolve("wrong.avsc"), "no schema");
        RegistryException error = assertThrows(
                RegistryException.class, () -> new KnownSchemas(Optional.empty(), folder.toString()).find(VIEW));
        assertTrue(error.getMessage().contains("wrong.avsc (writer.schemas) cannot be used"), error.getMessage());
        assertFalse(error.isPassing());
    }
}
