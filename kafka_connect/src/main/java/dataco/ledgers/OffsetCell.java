package dataco.ledgers;

/**
 * A partition's cell in the offset ledger.
 *
 * @param position the position; null when there is none
 * @param epoch epoch of the owner who may move it
 */
record OffsetCell(Position position, long epoch) {
    private static final String NONE = "-";
    private static final int PARTS_WITH_EPOCH = 3;

    /** Reads {@code <topic id> <next offset> <epoch>}; epoch 0 is left out, and a cell without position is empty then. */
    static OffsetCell of(String cell) {
        if (cell == null || cell.isEmpty()) {
            return new OffsetCell(null, 0);
        }
        String[] parts = cell.split(" ");
        Position position = parts[0].equals(NONE) ? null : new Position(parts[0], Long.parseLong(parts[1]));
        return new OffsetCell(position, parts.length == PARTS_WITH_EPOCH ? Long.parseLong(parts[2]) : 0);
    }

    String encode() {
        String suffix = epoch == 0 ? "" : " " + epoch;
        if (position == null) {
            return epoch == 0 ? "" : NONE + " " + NONE + suffix;
        }
        return position.topicId() + " " + position.nextOffset() + suffix;
    }
}
