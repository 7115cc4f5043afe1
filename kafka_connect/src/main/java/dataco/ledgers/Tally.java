package dataco.ledgers;

import java.time.format.DateTimeParseException;
import java.util.List;

/**
 * What became of the offsets before a partition's position, as far as they were passed in one hour; the position's cell
 * holds it. The drain has the same ({@code dataco_assets/ledgers/tallies.py}).
 *
 * @param hourMs hour of ingestion, by HBase's clock at the beginning of its first checkpoint, epoch ms
 * @param log number of the log among those with the same topic id: one that is cut back begins another
 * @param start first offset
 * @param first whether no tally precedes it in its log
 * @param counts what became of the offsets
 */
record Tally(long hourMs, int log, long start, boolean first, Counts counts) {
    private static final int OWN_PARTS = 4;

    /** Reads its parts; null when they are no tally, on which ingest does not depend. */
    static Tally of(List<String> parts) {
        if (parts.size() != OWN_PARTS + Counts.SIZE) {
            return null;
        }
        try {
            Counts counts = Counts.of(parts.subList(OWN_PARTS, parts.size()));
            long hourMs = Hours.ofKey(parts.get(0));
            boolean first = Integer.parseInt(parts.get(3)) != 0;
            return new Tally(hourMs, Integer.parseInt(parts.get(1)), Long.parseLong(parts.get(2)), first, counts);
        } catch (NumberFormatException | DateTimeParseException noTally) {
            return null;
        }
    }

    /** Returns the tally with the offsets of a checkpoint that began at a time, epoch ms; a loss has one to itself. */
    Tally with(long atMs, long begin, Counts more) {
        if (Hours.hourOf(atMs) <= hourMs && counts.lost() == 0) {
            return new Tally(hourMs, log, start, first, counts.plus(more));
        }
        return new Tally(Math.max(hourMs, Hours.hourOf(atMs)), log, begin, false, more);
    }

    /** Returns the row in which it is kept once it is closed. */
    String row(String topic, int partition, String topicId) {
        return String.format(
                "%s#tally/%s/%05d/%s/%05d/%019d", topic, Hours.key(hourMs), partition, topicId, log, start);
    }

    /** Returns what that row holds. */
    String encodeClosed(long end) {
        return end + " " + (first ? 1 : 0) + " " + counts.encode();
    }

    /** Returns the end of the offsets of a closed tally. */
    static long endOf(String closed) {
        return Long.parseLong(closed.split(" ")[0]);
    }

    String encode() {
        return Hours.key(hourMs) + " " + log + " " + start + " " + (first ? 1 : 0) + " " + counts.encode();
    }
}
