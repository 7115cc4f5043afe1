package dataco.clicks;

import dataco.failures.IngestException;
import java.util.Optional;

/** Where the schemas are that records were written with. */
@FunctionalInterface
public interface WriterSchemas {
    /**
     * Returns the schema of that name; empty when there is none.
     *
     * @throws IngestException the source cannot say
     */
    Optional<WriterSchema> find(SchemaReference reference) throws IngestException;
}
