package dataco.ledgers;

/**
 * Generations of an hour for which something else than late clicks made it dirty; the rules are those of
 * {@code dataco_assets/ledgers/restating.py}.
 *
 * @param first the first one
 * @param last the last one, included
 */
record CauseRange(long first, long last) {
    /** Reads a cell, {@code <first> <last>}; without one (null), the range is a single generation. */
    static CauseRange of(String cell, long generation) {
        if (cell == null) {
            return new CauseRange(generation, generation);
        }
        String[] parts = cell.split(" ");
        return new CauseRange(Long.parseLong(parts[0]), Long.parseLong(parts[1]));
    }

    /**
     * Returns the range once the cause comes again. While it has not been published as a whole, it keeps its start.
     *
     * @param generation what the hour's next mark will make its generation
     * @param done its published generation
     */
    CauseRange extended(long generation, long done) {
        return new CauseRange(done < last ? first : generation, Math.max(last, generation));
    }

    String encode() {
        return first + " " + last;
    }
}
