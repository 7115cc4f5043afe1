package dataco.live;

import dataco.clicks.Click;
import dataco.clicks.Hashes;
import dataco.clicks.RecordParser;
import dataco.clicks.RowKey;
import dataco.failures.IngestException;
import java.nio.charset.StandardCharsets;
import java.util.Iterator;
import java.util.NoSuchElementException;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import scala.Tuple3;
import scala.Tuple5;

/**
 * Decodes Kafka's records (value, header, time of arrival, partition, offset) into events of users (hash of the user id,
 * time of the click, {@link Arrival}) by the same parser as the sink's for Kafka Connect. A record that is no click is
 * left out: storing it in the rejected topic is the drain's work.
 */
final class Decoder
        implements MapPartitionsFunction<Tuple5<byte[], byte[], Long, Integer, Long>, Tuple3<byte[], Long, byte[]>> {
    private static final long serialVersionUID = 1L;
    private static final int HASH_START = 17;
    private static final int HALF_DIGITS = 16;
    private static final int HEX = 16;

    private final SchemaPlace place;
    private final long earliestMs;
    private final long firstNeededMs;
    private final BotRule bots;

    /**
     * Decodes clicks with the schemas of a place.
     *
     * @param earliestMs start of the first partition, epoch ms; older clicks are rejected
     * @param firstNeededMs clicks before it (epoch ms) do not matter to any hour of the run
     * @param bots whose agents are marked
     */
    Decoder(SchemaPlace place, long earliestMs, long firstNeededMs, BotRule bots) {
        this.place = place;
        this.earliestMs = earliestMs;
        this.firstNeededMs = firstNeededMs;
        this.bots = bots;
    }

    @Override
    public Iterator<Tuple3<byte[], Long, byte[]>> call(Iterator<Tuple5<byte[], byte[], Long, Integer, Long>> records)
            throws IngestException {
        RecordParser parser = new RecordParser(Schemas.of(place));
        return new Iterator<>() {
            private Tuple3<byte[], Long, byte[]> next;

            @Override
            public boolean hasNext() {
                while (next == null && records.hasNext()) {
                    next = event(parser, records.next());
                }
                return next != null;
            }

            @Override
            public Tuple3<byte[], Long, byte[]> next() {
                if (!hasNext()) {
                    throw new NoSuchElementException();
                }
                Tuple3<byte[], Long, byte[]> event = next;
                next = null;
                return event;
            }
        };
    }

    /** The event of a record; null when it is none that matters. */
    private Tuple3<byte[], Long, byte[]> event(
            RecordParser parser, Tuple5<byte[], byte[], Long, Integer, Long> record) {
        long arrived = record._3();
        try {
            if (!(parser.parse(record._1(), record._2(), arrived, earliestMs) instanceof Click click)
                    || click.timestamp() < firstNeededMs) {
                return null;
            }
            byte[] user = Hashes.erasedUser(click.userId()).getBytes(StandardCharsets.US_ASCII);
            Arrival arrival = new Arrival(record._4(), record._5(), kept(click, arrived));
            return new Tuple3<>(user, click.timestamp(), arrival.encoded());
        } catch (IngestException error) {
            throw new IllegalStateException(
                    error.getMessage() + " (`dataco live` takes schema.registry.* from DATACO_SCHEMA_REGISTRY_*, and"
                            + " writer.schemas from DATACO_WRITER_SCHEMAS.)",
                    error);
        }
    }

    private UserClick kept(Click click, long arrived) {
        String key = new String(RowKey.of(click), StandardCharsets.US_ASCII);
        int middle = HASH_START + HALF_DIGITS;
        return new UserClick(
                click.timestamp(),
                Long.parseUnsignedLong(key, HASH_START, middle, HEX),
                Long.parseUnsignedLong(key, middle, middle + HALF_DIGITS, HEX),
                arrived,
                new Group(click.page(), click.country()),
                bots.isAgent(click.browser(), click.device()));
    }
}
