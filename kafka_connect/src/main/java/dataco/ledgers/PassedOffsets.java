package dataco.ledgers;

import java.util.Collection;
import java.util.List;

/**
 * Offsets of a partition whose clicks are durable, with what a checkpoint made of them.
 *
 * @param partition the partition
 * @param start the first of them
 * @param end the one behind the last
 * @param stored how many messages were stored and are no repetition
 * @param repeated offsets of repetitions
 * @param rejected offsets of rejected messages
 * @param suppressed offsets of suppressed messages
 * @param empty offsets that have no message
 */
public record PassedOffsets(
        int partition,
        long start,
        long end,
        long stored,
        List<Long> repeated,
        List<Long> rejected,
        List<Long> suppressed,
        List<EmptyOffsets> empty) {

    /**
     * Returns the counts from an offset on: another task may have passed those before it meanwhile, and counted them. Of
     * those, all were stored that are not anything else.
     */
    Counts counts(long begin) {
        long emptyBefore = empty.stream().mapToLong(run -> run.before(begin)).sum();
        long otherBefore = before(repeated, begin) + before(rejected, begin) + before(suppressed, begin);
        long storedBefore = begin - start - otherBefore - emptyBefore;
        return new Counts(
                stored - storedBefore,
                repeated.size() - before(repeated, begin),
                rejected.size() - before(rejected, begin),
                suppressed.size() - before(suppressed, begin),
                0,
                empty.stream().mapToLong(run -> run.before(end)).sum() - emptyBefore);
    }

    private static long before(Collection<Long> offsets, long begin) {
        return offsets.stream().filter(offset -> offset < begin).count();
    }
}
