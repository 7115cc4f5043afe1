package dataco.ledgers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The cells of the offset ledger, which the drain reads and writes as well, and when a position moves. */
class OffsetCellTest {
    @ParameterizedTest
    @ValueSource(strings = {"id 5", "id 5 3", "- - 3", ""})
    void formsOfACell(String cell) {
        assertEquals(cell, OffsetCell.of(cell).encode());
    }

    @Test
    void partsOfACell() {
        assertEquals(new OffsetCell(new Position("id", 5), 3), OffsetCell.of("id 5 3"));
        assertEquals(new OffsetCell(new Position("id", 5), 0), OffsetCell.of("id 5"));
        assertEquals(new OffsetCell(null, 3), OffsetCell.of("- - 3"));
        assertEquals(new OffsetCell(null, 0), OffsetCell.of(null));
    }

    @Test
    void owner() {
        assertEquals(new Owner(Mode.DRAIN, 0), Owner.of(null));
        assertEquals(new Owner(Mode.CONNECT, 7), Owner.of("connect 7"));
    }

    @Test
    void positionsMoveForwardsAndNotOverAGap() throws LedgerException {
        StoredOffsets stored = new StoredOffsets(0, 100, 200);
        assertTrue(OffsetLedger.isBehind("clicks", "id", null, stored));
        assertTrue(OffsetLedger.isBehind("clicks", "id", new Position("id", 100), stored));
        assertTrue(OffsetLedger.isBehind("clicks", "id", new Position("id", 199), stored));
        assertFalse(OffsetLedger.isBehind("clicks", "id", new Position("id", 200), stored));
        LedgerException gap = assertThrows(
                LedgerException.class, () -> OffsetLedger.isBehind("clicks", "id", new Position("id", 99), stored));
        assertTrue(gap.isPassing());
        assertTrue(gap.getMessage().contains("offsets [100, 200) of topic id id cannot follow"), gap.getMessage());
        assertThrows(
                LedgerException.class, () -> OffsetLedger.isBehind("clicks", "new", new Position("id", 150), stored));
    }
}
