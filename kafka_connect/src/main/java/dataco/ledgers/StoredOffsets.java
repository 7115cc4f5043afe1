package dataco.ledgers;

/**
 * Offsets of a partition whose clicks are durable.
 *
 * @param partition the partition
 * @param start the first of them
 * @param end the one behind the last
 */
public record StoredOffsets(int partition, long start, long end) {}
