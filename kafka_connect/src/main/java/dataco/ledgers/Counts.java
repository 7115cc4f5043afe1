package dataco.ledgers;

import java.util.List;

/**
 * How many offsets became what; the drain counts the same ({@code dataco_assets/ledgers/tallies.py}).
 *
 * @param stored messages whose row was written
 * @param repeated the same, where an earlier message of the checkpoint has the same row
 * @param rejected messages in the rejected topic
 * @param suppressed messages that were dropped because their user was erased
 * @param lost messages that had left the topic before they were read, which a person accepted; the drain's alone
 * @param empty offsets that have no message: markers of transactions, messages rolled back or removed by compaction
 */
record Counts(long stored, long repeated, long rejected, long suppressed, long lost, long empty) {
    /** How many numbers there are. */
    static final int SIZE = 6;

    /** Reads the numbers, in their order. */
    static Counts of(List<String> parts) {
        List<Long> numbers = parts.stream().map(Long::valueOf).toList();
        return new Counts(
                numbers.get(0), numbers.get(1), numbers.get(2), numbers.get(3), numbers.get(4), numbers.get(5));
    }

    Counts plus(Counts other) {
        return new Counts(
                stored + other.stored,
                repeated + other.repeated,
                rejected + other.rejected,
                suppressed + other.suppressed,
                lost + other.lost,
                empty + other.empty);
    }

    String encode() {
        return stored + " " + repeated + " " + rejected + " " + suppressed + " " + lost + " " + empty;
    }
}
