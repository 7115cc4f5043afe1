package dataco.kafka;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dataco.ledgers.Position;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Where reading begins, and what counts as lost. */
class StartsTest {
    private static final TopicState TOPIC = new TopicState("clicks", "now", Set.of(0, 1));

    @Test
    void ledgerThenGroupThenEarliest() throws DataLostException {
        Starts starts = new Starts(TOPIC, Map.of(0, new Position("now", 7)), Map.of(0, 3L, 1, 4L));
        Map<Integer, LogRange> logs = Map.of(0, new LogRange(2, 9), 1, new LogRange(2, 9));
        assertEquals(Map.of(0, 7L, 1, 4L), starts.of(logs));
        assertEquals(Map.of(0, 2L, 1, 2L), new Starts(TOPIC, Map.of(), Map.of()).of(logs));
    }

    @Test
    void removedByRetention() {
        assertLost("partition 0: offsets [5, 8) were removed by retention before they were read", "now", 5, 8, 20);
    }

    @Test
    void cutBack() {
        assertLost(
                "partition 0: the log was cut back: it ends at offset 4, but was read up to offset 5", "now", 5, 0, 4);
    }

    @Test
    void createdAgain() {
        assertLost("deleted and created again (id before is now now)", "before", 5, 0, 9);
    }

    @Test
    void partitionGone() {
        Starts starts = new Starts(TOPIC, Map.of(7, new Position("now", 3)), Map.of());
        DataLostException lost = assertThrows(DataLostException.class, () -> starts.of(Map.of()));
        assertTrue(lost.getMessage().contains("partition 7: the ledger is at offset 3, but the partition is gone"));
    }

    @Test
    void everythingReadIsNoLoss() throws DataLostException {
        Starts starts = new Starts(TOPIC, Map.of(0, new Position("now", 9)), Map.of());
        assertEquals(Map.of(0, 9L), starts.of(Map.of(0, new LogRange(9, 9))));
    }

    private static void assertLost(String why, String topicId, long offset, long earliest, long end) {
        Starts starts = new Starts(TOPIC, Map.of(0, new Position(topicId, offset)), Map.of());
        DataLostException lost =
                assertThrows(DataLostException.class, () -> starts.of(Map.of(0, new LogRange(earliest, end))));
        assertFalse(lost.isPassing());
        assertTrue(lost.getMessage().contains(why), lost.getMessage());
    }
}
