package dataco.hbase;

/**
 * A click that HBase would refuse whenever it is written, while it takes its neighbours.
 *
 * @param <O> what tells where a click came from
 * @param origin where the click came from
 * @param why HBase's message, one line of printable ASCII
 */
public record RefusedClick<O>(O origin, String why) {}
