package dataco.live;

import dataco.clicks.SchemaReference;
import dataco.clicks.WriterSchema;
import dataco.clicks.WriterSchemas;
import dataco.failures.IngestException;
import dataco.registry.KnownSchemas;
import dataco.registry.RegistryAccess;
import dataco.registry.RegistryException;
import dataco.registry.SchemaRegistry;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/**
 * Writers' schemas of one place, for all tasks of a process. What is known is known for a minute: a schema that there is
 * not may be registered since.
 */
final class Schemas implements WriterSchemas {
    private static final long KEPT_NANOS = Duration.ofMinutes(1).toNanos();
    private static final double SECOND_NANOS = 1e9;
    private static final long PAUSE_MS = 500;

    private static Schemas latest;

    private final SchemaPlace place;
    private final WriterSchemas source;
    private final long since = System.nanoTime();
    private final Map<SchemaReference, Optional<WriterSchema>> known = new HashMap<>();

    private Schemas(SchemaPlace place) throws RegistryException {
        this.place = place;
        Optional<SchemaRegistry> registry = place.registryUrl().isEmpty()
                ? Optional.empty()
                : Optional.of(new SchemaRegistry(new RegistryAccess(
                        place.registryUrl(), place.username(), place.password(), place.token(), place.caFile())));
        this.source = new KnownSchemas(registry, place.folder());
    }

    /** Returns the schemas of a place. */
    static synchronized Schemas of(SchemaPlace place) throws RegistryException {
        if (latest == null || !latest.place.equals(place) || System.nanoTime() - latest.since > KEPT_NANOS) {
            latest = new Schemas(place);
        }
        return latest;
    }

    @Override
    public synchronized Optional<WriterSchema> find(SchemaReference reference) throws IngestException {
        Optional<WriterSchema> found = known.get(reference);
        if (found == null) {
            found = asked(reference);
            known.put(reference, found);
        }
        return found;
    }

    private Optional<WriterSchema> asked(SchemaReference reference) throws IngestException {
        long began = System.nanoTime();
        while (true) {
            try {
                return source.find(reference);
            } catch (IngestException error) {
                boolean isOver = System.nanoTime() - began > place.retrySeconds() * SECOND_NANOS;
                if (!error.isPassing() || isOver || !hasWaited()) {
                    throw error;
                }
            }
        }
    }

    private static boolean hasWaited() {
        try {
            Thread.sleep(PAUSE_MS);
            return true;
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            return false;
        }
    }
}
