package dataco.live;

import java.util.Comparator;

/**
 * A click of a micro-batch, with its place in Kafka.
 *
 * @param partition partition of the topic
 * @param offset offset in that partition
 * @param click what is kept of it
 */
record Arrival(int partition, long offset, UserClick click) {
    /** The order in which clicks with the same row key replace each other. */
    static final Comparator<Arrival> BY_PLACE =
            Comparator.comparingInt(Arrival::partition).thenComparingLong(Arrival::offset);

    /** Returns it as bytes. They begin with the offset, and so not with a digit, as those of an erasure do. */
    byte[] encoded() {
        return new ByteWriter()
                .eightBytes(offset)
                .eightBytes(click.keyHigh())
                .eightBytes(click.keyLow())
                .number(partition)
                .number(click.timestamp())
                .number(click.arrived())
                .text(click.group().page())
                .text(click.group().country())
                .number(click.byBot() ? 1 : 0)
                .bytes();
    }

    /** Returns the arrival that these bytes are. */
    static Arrival decoded(byte[] bytes) {
        ByteReader reader = new ByteReader(bytes);
        long offset = reader.eightBytes();
        long keyHigh = reader.eightBytes();
        long keyLow = reader.eightBytes();
        int partition = (int) reader.number();
        long timestamp = reader.number();
        long arrived = reader.number();
        Group group = new Group(reader.text(), reader.text());
        return new Arrival(
                partition, offset, new UserClick(timestamp, keyHigh, keyLow, arrived, group, reader.number() == 1));
    }
}
