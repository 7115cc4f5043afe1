package dataco.clicks;

import dataco.failures.IngestException;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * Parses records of the clicks topic, in JSON or in Avro. The same click has the same row, and the same fault the same
 * reason, in either format. Asks once for each schema, and keeps the last thousand. For one thread.
 */
public final class RecordParser {
    private static final int CACHED = 1_000;
    private static final float LOAD = 0.75f;

    private final WriterSchemas schemas;
    private final Map<ByteBuffer, Reader> readers = new Cache();

    /** Asks a source for schemas. */
    public RecordParser(WriterSchemas schemas) {
        this.schemas = schemas;
    }

    /**
     * Decodes and validates one record.
     *
     * @param value the record's value; null is a tombstone
     * @param header what its header {@link Framing#SCHEMA_HEADER} holds; null when it has none
     * @param recordTimeMs the record's Kafka timestamp, epoch ms
     * @param earliestMs start of the first partition, epoch ms; older clicks are rejected
     * @throws IngestException the source of schemas cannot say which schema it is, which is no fault of the record
     */
    public Verdict parse(byte[] value, byte[] header, long recordTimeMs, long earliestMs) throws IngestException {
        if (value == null || Framing.isJson(value, header)) {
            return ClickParser.parse(value, recordTimeMs, earliestMs);
        }
        try {
            ClickParser.required(value);
            return ClickParser.validated(fields(value, header), recordTimeMs, earliestMs);
        } catch (BrokenRuleException broken) {
            return broken.rejection();
        }
    }

    /**
     * Returns the user id in a value, which need not be a valid click, as far as it can be read.
     *
     * @throws IngestException as {@link #parse}
     */
    public Optional<String> userId(byte[] value, byte[] header) throws IngestException {
        if (value == null || Framing.isJson(value, header)) {
            return ReadableUser.of(value);
        }
        try {
            return ReadableUser.of(fields(value, header));
        } catch (BrokenRuleException broken) {
            return Optional.empty();
        }
    }

    /** Forgets which schemas do not exist: they may have been registered since. */
    public void forgetUnknown() {
        readers.values()
                .removeIf(reader -> reader.missing() != null && reader.missing().reason() == Reason.UNKNOWN_SCHEMA);
    }

    private Map<String, JsonValue> fields(byte[] value, byte[] header) throws BrokenRuleException, IngestException {
        Framing.Frame frame = Framing.frameOf(value, header);
        ByteBuffer key = ByteBuffer.wrap(frame.prefix());
        Reader reader = readers.get(key);
        if (reader == null) {
            reader = found(Framing.referenceOf(frame.prefix()));
            readers.put(key, reader);
        }
        if (reader.missing() != null) {
            throw new BrokenRuleException(
                    reader.missing().reason(), reader.missing().detail());
        }
        return reader.reader().read(value, frame.start());
    }

    private Reader found(SchemaReference reference) throws IngestException {
        Optional<WriterSchema> schema = schemas.find(reference);
        if (schema.isEmpty()) {
            return new Reader(null, new Rejection(Reason.UNKNOWN_SCHEMA, "no schema is known by " + reference));
        }
        try {
            return new Reader(new AvroClickReader(schema.get()), null);
        } catch (UnsuitableSchemaException error) {
            return new Reader(
                    null, new Rejection(Reason.UNSUITABLE_SCHEMA, "schema " + reference + ": " + error.getMessage()));
        }
    }

    /** A reader, or why there is none. */
    private record Reader(AvroClickReader reader, Rejection missing) {}

    /** Keeps what was used last. */
    private static final class Cache extends LinkedHashMap<ByteBuffer, Reader> {
        private static final long serialVersionUID = 1L;

        Cache() {
            super(CACHED, LOAD, true);
        }

        @Override
        protected boolean removeEldestEntry(Map.Entry<ByteBuffer, Reader> eldest) {
            return size() > CACHED;
        }
    }
}
