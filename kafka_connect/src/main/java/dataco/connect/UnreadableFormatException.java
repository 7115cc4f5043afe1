package dataco.connect;

import dataco.failures.IngestException;

/** A click is in a format that the drain reads and this sink does not; rejecting it would be a wrong verdict. */
final class UnreadableFormatException extends IngestException {
    private static final long serialVersionUID = 1L;

    UnreadableFormatException(String topic, Message message) {
        super(
                "Topic " + topic + ", partition " + message.partition() + ", offset " + message.offset()
                        + ": a click in Avro, which this sink does not read. No offset was moved beyond it. The drain reads"
                        + " both formats: `dataco ingest use drain` (docs/connect.md).",
                false,
                null);
    }
}
