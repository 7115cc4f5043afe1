package dataco.ledgers;

/**
 * Who stores the clicks of a topic. The epoch is a fencing token: see {@link OffsetLedger}.
 *
 * @param mode the drain or Kafka Connect
 * @param epoch how often that was changed
 */
public record Owner(Mode mode, long epoch) {
    /** Reads a cell, {@code <mode> <epoch>}; without one it is the drain. */
    static Owner of(String cell) {
        if (cell == null) {
            return new Owner(Mode.DRAIN, 0);
        }
        String[] parts = cell.split(" ");
        return new Owner(Mode.of(parts[0]), Long.parseLong(parts[1]));
    }
}
