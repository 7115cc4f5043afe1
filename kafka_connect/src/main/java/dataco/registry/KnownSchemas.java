package dataco.registry;

import dataco.clicks.ContractSchema;
import dataco.clicks.SchemaFingerprint;
import dataco.clicks.SchemaReference;
import dataco.clicks.UnsuitableSchemaException;
import dataco.clicks.WriterSchema;
import dataco.clicks.WriterSchemas;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.SortedSet;
import java.util.TreeSet;

/** Finds writers' schemas; the rules are those of the drain ({@code dataco_assets/clients/writer_schemas.py}). */
public final class KnownSchemas implements WriterSchemas {
    private final Optional<SchemaRegistry> registry;
    private final String folder;
    private Map<String, WriterSchema> byFingerprint;

    /**
     * Asks the registry for ids and GUIDs.
     *
     * @param registry empty when none is configured
     * @param folder folder of {@code .avsc} files, by whose fingerprints records name them; empty: none
     */
    public KnownSchemas(Optional<SchemaRegistry> registry, String folder) {
        this.registry = registry;
        this.folder = folder;
    }

    @Override
    public Optional<WriterSchema> find(SchemaReference reference) throws RegistryException {
        if (reference.by() == SchemaReference.By.FINGERPRINT) {
            if (byFingerprint == null) {
                byFingerprint = files();
            }
            return Optional.ofNullable(byFingerprint.get(reference.value()));
        }
        SchemaRegistry asked = registry.orElseThrow(() -> missing(reference));
        return reference.by() == SchemaReference.By.ID
                ? asked.byId(reference.value())
                : asked.byGuid(reference.value());
    }

    private static RegistryException missing(SchemaReference reference) {
        return RegistryException.permanent(
                "A record of the clicks topic names its schema by " + reference + ", so it was written with a schema"
                        + " registry, but schema.registry.url is not set. Nothing was rejected. If such records are no"
                        + " clicks: `dataco ingest use drain`, run once with without_registry: reject, `dataco ingest use"
                        + " connect`.",
                null);
    }

    private Map<String, WriterSchema> files() throws RegistryException {
        Map<String, WriterSchema> found = new HashMap<>();
        if (!folder.isEmpty()) {
            try (DirectoryStream<Path> paths = Files.newDirectoryStream(Path.of(folder), "*.avsc")) {
                SortedSet<Path> sorted = new TreeSet<>();
                paths.forEach(sorted::add);
                for (Path path : sorted) {
                    add(found, path.toString(), new WriterSchema(Files.readString(path)));
                }
            } catch (IOException error) {
                throw RegistryException.permanent("writer.schemas " + folder + " cannot be read: " + error, error);
            }
        }
        for (WriterSchema schema : ContractSchema.versions().toList()) {
            add(found, "the contract", schema);
        }
        return found;
    }

    private static void add(Map<String, WriterSchema> found, String name, WriterSchema schema)
            throws RegistryException {
        try {
            found.put(SchemaFingerprint.of(schema.text()), schema);
        } catch (UnsuitableSchemaException error) {
            throw RegistryException.permanent(
                    name + " (writer.schemas) cannot be used: " + error.getMessage() + ".", error);
        }
    }
}
