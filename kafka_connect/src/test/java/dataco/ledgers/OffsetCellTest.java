package dataco.ledgers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The cells of the offset ledger, which the drain reads and writes as well, and when a position moves. */
class OffsetCellTest {
    private static final String CELL = "id-1 100 0 2026-01-01-12:00 0 3 1 80 2 1 3 0 11";
    private static final long NOON_MS = 1_767_268_800_000L;
    private static final long HOUR_MS = 3_600_000;

    @ParameterizedTest
    @ValueSource(strings = {"id 5", "id 5 3", "- - 3", "", CELL})
    void formsOfACell(String cell) {
        assertEquals(cell, OffsetCell.of(cell).encode());
    }

    @Test
    void partsOfACell() {
        assertEquals(new OffsetCell(new Position("id", 5), 3, null), OffsetCell.of("id 5 3"));
        assertEquals(new OffsetCell(new Position("id", 5), 0, null), OffsetCell.of("id 5"));
        assertEquals(new OffsetCell(null, 3, null), OffsetCell.of("- - 3"));
        assertEquals(new OffsetCell(null, 0, null), OffsetCell.of(null));
    }

    @Test
    void aTallyIsTheDrains() {
        PassedOffsets passed = new PassedOffsets(
                0, 3, 100, 80, List.of(5L, 6L), List.of(7L), List.of(8L, 9L, 10L), List.of(new EmptyOffsets(20, 31)));
        OffsetCell cell = new OffsetCell(null, 0, null).advanced("id-1", passed, NOON_MS + 5);
        assertEquals(CELL, cell.encode());
        assertEquals(cell, OffsetCell.of(CELL));
        assertEquals(
                "clicks#tally/2026-01-01-12:00/00000/id-1/00000/0000000000000000003",
                cell.tally().row("clicks", 0, "id-1"));
        assertEquals("100 1 80 2 1 3 0 11", cell.tally().encodeClosed(100));
        assertEquals(100, Tally.endOf("100 1 80 2 1 3 0 11"));
        OffsetCell later = cell.advanced("id-1", stored(100, 101), NOON_MS + HOUR_MS);
        assertEquals("id-1 101 0 2026-01-01-13:00 0 100 0 1 0 0 0 0 0", later.encode());
        assertTrue(cell.isClosedBy(later));
    }

    @Test
    void checkpointsOfAnHourShareATallyAndALossHasOneToItself() {
        OffsetCell cell = OffsetCell.of(CELL);
        OffsetCell same = cell.advanced("id-1", stored(100, 150), NOON_MS - HOUR_MS);
        assertEquals("id-1 150 0 2026-01-01-12:00 0 3 1 130 2 1 3 0 11", same.encode());
        assertFalse(cell.isClosedBy(same));
        OffsetCell lost = OffsetCell.of("id-1 100 0 2026-01-01-12:00 2 90 0 0 0 0 0 10 0");
        OffsetCell behind = lost.advanced("id-1", stored(100, 150), NOON_MS);
        assertEquals("id-1 150 0 2026-01-01-12:00 2 100 0 50 0 0 0 0 0", behind.encode());
        assertTrue(lost.isClosedBy(behind));
    }

    @Test
    void ofOffsetsThatAnotherTaskPassedNoneIsCountedTwice() {
        PassedOffsets passed = new PassedOffsets(
                0, 0, 20, 12, List.of(3L, 15L), List.of(4L, 16L), List.of(5L), List.of(new EmptyOffsets(8, 11)));
        assertEquals(new Counts(12, 2, 2, 1, 0, 3), passed.counts(0));
        assertEquals(new Counts(7, 1, 1, 0, 0, 1), passed.counts(10));
        OffsetCell moved = OffsetCell.of("id-1 10 0").advanced("id-1", passed, NOON_MS);
        assertEquals("id-1 20 0 2026-01-01-12:00 0 10 1 7 1 1 0 0 1", moved.encode());
    }

    @ParameterizedTest
    @ValueSource(strings = {"id-1 5 2 a person's words", "id-1 5 2 2026-01-01-12:00 0 3 1 80 2 1 3 0 x"})
    void whatIsNoTallyIsNone(String cell) {
        assertEquals(new OffsetCell(new Position("id-1", 5), 2, null), OffsetCell.of(cell));
    }

    private static PassedOffsets stored(long start, long end) {
        return new PassedOffsets(0, start, end, end - start, List.of(), List.of(), List.of(), List.of());
    }

    @Test
    void owner() {
        assertEquals(new Owner(Mode.DRAIN, 0), Owner.of(null));
        assertEquals(new Owner(Mode.CONNECT, 7), Owner.of("connect 7"));
    }

    @Test
    void positionsMoveForwardsAndNotOverAGap() throws LedgerException {
        PassedOffsets stored = stored(100, 200);
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
