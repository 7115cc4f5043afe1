package dataco.ledgers;

import java.nio.charset.StandardCharsets;

/** The name of a cell, in bytes as HBase takes it. */
final class CellName {
    private final byte[] family;
    private final byte[] qualifier;

    private CellName(String family, String qualifier) {
        this.family = family.getBytes(StandardCharsets.US_ASCII);
        this.qualifier = qualifier.getBytes(StandardCharsets.US_ASCII);
    }

    static CellName of(String family, String qualifier) {
        return new CellName(family, qualifier);
    }

    byte[] family() {
        return family;
    }

    byte[] qualifier() {
        return qualifier;
    }
}
