package dataco.connect;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.sink.SinkRecord;

/** Takes messages out of Connect's records. */
final class Messages {
    private static final long NO_TIME = -1;

    private Messages() {}

    static List<Message> of(Collection<SinkRecord> records) {
        return records.stream().map(Messages::of).toList();
    }

    private static Message of(SinkRecord record) {
        List<Header> headers = new ArrayList<>();
        record.headers()
                .forEach(header ->
                        headers.add(new RecordHeader(header.key(), bytes(header.value(), "header.converter"))));
        Long time = record.timestamp();
        return new Message(
                record.originalKafkaPartition(),
                record.originalKafkaOffset(),
                time == null ? NO_TIME : time,
                time == null ? System.currentTimeMillis() : time,
                bytes(record.key(), "key.converter"),
                bytes(record.value(), "value.converter"),
                headers);
    }

    private static byte[] bytes(Object content, String converter) {
        if (content == null) {
            return null;
        }
        if (content instanceof byte[] bytes) {
            return bytes;
        }
        throw new ConnectException("The sink needs the bytes of a message, but the worker gave it a "
                + content.getClass().getSimpleName() + ": set " + converter
                + " to org.apache.kafka.connect.converters.ByteArrayConverter.");
    }
}
