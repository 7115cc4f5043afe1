package dataco.ledgers;

/**
 * Offsets of a partition that have no message.
 *
 * @param start the first of them
 * @param end the one behind the last
 */
public record EmptyOffsets(long start, long end) {
    long before(long offset) {
        return Math.max(0, Math.min(end, offset) - start);
    }
}
