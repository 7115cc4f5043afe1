package dataco.ledgers;

import java.util.List;

/**
 * A partition's cell in the offset ledger.
 *
 * @param position the position; null when there is none
 * @param epoch epoch of the owner who may move it
 * @param tally what became of the offsets before the position; null when that was not noted
 */
record OffsetCell(Position position, long epoch, Tally tally) {
    private static final String NONE = "-";
    private static final int EPOCH = 2;

    /**
     * Reads {@code <topic id> <next offset> <epoch> <tally>}. Earlier versions have no tally and leave out epoch 0; a cell
     * without position is empty then.
     */
    static OffsetCell of(String cell) {
        if (cell == null || cell.isEmpty()) {
            return new OffsetCell(null, 0, null);
        }
        List<String> parts = List.of(cell.split(" "));
        long epoch = parts.size() > EPOCH ? Long.parseLong(parts.get(EPOCH)) : 0;
        if (parts.get(0).equals(NONE)) {
            return new OffsetCell(null, epoch, null);
        }
        Tally tally = parts.size() > EPOCH + 1 ? Tally.of(parts.subList(EPOCH + 1, parts.size())) : null;
        return new OffsetCell(new Position(parts.get(0), Long.parseLong(parts.get(1))), epoch, tally);
    }

    String encode() {
        if (position == null) {
            return epoch == 0 ? "" : NONE + " " + NONE + " " + epoch;
        }
        String suffix = (epoch == 0 && tally == null ? "" : " " + epoch) + (tally == null ? "" : " " + tally.encode());
        return position.topicId() + " " + position.nextOffset() + suffix;
    }

    /** Returns the cell behind offsets that it has not all passed, of a checkpoint that began at a time, epoch ms. */
    OffsetCell advanced(String topicId, PassedOffsets passed, long atMs) {
        long begin = position == null ? passed.start() : position.nextOffset();
        Counts counts = passed.counts(begin);
        Tally next =
                tally == null ? new Tally(Hours.hourOf(atMs), 0, begin, true, counts) : tally.with(atMs, begin, counts);
        return new OffsetCell(new Position(topicId, passed.end()), epoch, next);
    }

    /** Whether another cell carries another tally than this one, whose tally is complete then. */
    boolean isClosedBy(OffsetCell other) {
        return tally != null && position.nextOffset() > tally.start() && other.tally.start() != tally.start();
    }
}
