package dataco.ledgers;

/**
 * From where on the hour ledger has to be read: no hour before it waits for a refresh.
 *
 * @param hourMs start of that hour, epoch ms
 * @param count raised by each change, so that a reader that raises the hour notices what was marked meanwhile
 */
record LowWater(long hourMs, long count) {
    /** Reads a cell, {@code <hour> <count>}; null when there is none. */
    static LowWater of(String cell) {
        if (cell == null) {
            return new LowWater(0, 0);
        }
        String[] parts = cell.split(" ");
        return new LowWater(Long.parseLong(parts[0]), Long.parseLong(parts[1]));
    }

    LowWater loweredTo(long otherMs) {
        return new LowWater(Math.min(hourMs, otherMs), count + 1);
    }

    String encode() {
        return hourMs + " " + count;
    }
}
