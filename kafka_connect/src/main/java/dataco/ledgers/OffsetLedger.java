package dataco.ledgers;

import dataco.hbase.StoreException;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.Scan;

/**
 * The offset ledger: the next offset to ingest in each partition, and who ingests.
 *
 * <p>A position carries a tally of the offsets before it, in its cell, so that both move as one.
 *
 * <p>The same table, cells and rules as the drain's ({@code dataco_assets/ledgers/offsets.py}). Positions move forwards
 * only, never over a gap, and only by compare-and-put on a cell that has the owner's own epoch. Whoever ingests claims
 * its partitions first: that writes its epoch into their cells, so no commit of a former owner succeeds afterwards.
 */
public final class OffsetLedger extends LedgerTable {
    private static final CellName NEXT = CellName.of("o", "next");
    private static final CellName OWNER = CellName.of("o", "owner");
    private static final CellName TALLY = CellName.of("o", "tally");

    private final Duration talliesKept;

    /**
     * Opens the ledger.
     *
     * @param connection stays the caller's
     * @param table name of the table
     * @param talliesKept how long tallies are kept after they are closed
     */
    public OffsetLedger(Connection connection, String table, Duration talliesKept) throws StoreException {
        super(connection, table);
        this.talliesKept = talliesKept;
    }

    /** Returns the positions of a topic's partitions; those never read are left out. */
    public Map<Integer, Position> read(String topic) throws StoreException {
        // "0" follows "/" in ASCII
        Scan scan = new Scan()
                .withStartRow(bytes(topic + "/"))
                .withStopRow(bytes(topic + "0"))
                .addColumn(NEXT.family(), NEXT.qualifier());
        Map<Integer, Position> positions = new TreeMap<>();
        for (Result row : scan(scan)) {
            Position position = OffsetCell.of(text(row.getValue(NEXT.family(), NEXT.qualifier())))
                    .position();
            if (position != null) {
                positions.put(Integer.parseInt(text(row.getRow()).substring(topic.length() + 1)), position);
            }
        }
        return positions;
    }

    /**
     * Returns the owner of a topic.
     *
     * @throws LedgerException its mode is another one
     */
    public Owner requireOwner(String topic, Mode mode) throws StoreException, LedgerException {
        Owner owner = owner(topic);
        if (owner.mode() != mode) {
            throw otherOwner(topic, owner, mode);
        }
        return owner;
    }

    /**
     * Makes an owner the only one who can move the position of a partition; do this before reading it.
     *
     * @throws LedgerException the partition is claimed by a later owner
     */
    public void claim(String topic, int partition, Owner owner) throws StoreException, LedgerException {
        change(key(topic, partition), NEXT, present -> {
            OffsetCell cell = OffsetCell.of(present);
            if (cell.epoch() > owner.epoch()) {
                throw otherOwner(topic, owner(topic), owner.mode());
            }
            return cell.epoch() == owner.epoch()
                    ? Optional.empty()
                    : Optional.of(new OffsetCell(cell.position(), owner.epoch(), cell.tally()).encode());
        });
    }

    /**
     * Moves a position to the end of offsets whose clicks are durable. One that another task of the same owner has moved
     * further meanwhile stays there.
     *
     * @param atMs when the checkpoint began that they are of, by HBase's clock, epoch ms
     * @throws LedgerException the position is before these offsets, or the partition was claimed by another owner
     */
    public void advance(String topic, String topicId, PassedOffsets passed, Owner owner, long atMs)
            throws StoreException, LedgerException {
        change(key(topic, passed.partition()), NEXT, present -> {
            OffsetCell cell = OffsetCell.of(present);
            if (cell.epoch() != owner.epoch()) {
                throw otherOwner(topic, owner(topic), owner.mode());
            }
            if (!isBehind(topic, topicId, cell.position(), passed)) {
                return Optional.empty();
            }
            OffsetCell moved = cell.advanced(topicId, passed, atMs);
            if (cell.isClosedBy(moved)) {
                close(topic, passed.partition(), cell);
            }
            return Optional.of(moved.encode());
        });
    }

    /**
     * Writes a row for the tally of a cell that is about to carry another one. Somebody slower than others may find the
     * row there with more offsets than it knows of; then it stays.
     */
    private void close(String topic, int partition, OffsetCell cell) throws StoreException, LedgerException {
        long end = cell.position().nextOffset();
        String value = cell.tally().encodeClosed(end);
        change(
                cell.tally().row(topic, partition, cell.position().topicId()),
                TALLY,
                present -> present == null || Tally.endOf(present) < end ? Optional.of(value) : Optional.empty(),
                talliesKept);
    }

    private Owner owner(String topic) throws StoreException {
        return Owner.of(read(topic + "#owner", OWNER)); // no topic's name can have this character
    }

    static boolean isBehind(String topic, String topicId, Position position, PassedOffsets passed)
            throws LedgerException {
        if (position == null) {
            return true;
        }
        if (!position.topicId().equals(topicId) || position.nextOffset() < passed.start()) {
            throw LedgerException.gap("Topic " + topic + ", partition " + passed.partition()
                    + ": the offset ledger is at "
                    + position.nextOffset() + " (topic id " + position.topicId() + "), so offsets [" + passed.start()
                    + ", " + passed.end() + ") of topic id " + topicId
                    + " cannot follow. Another task changed it; these clicks are read again.");
        }
        return position.nextOffset() < passed.end();
    }

    private static LedgerException otherOwner(String topic, Owner owner, Mode mode) {
        if (owner.mode() == mode) {
            return LedgerException.ownerChanged("Topic " + topic + " was given away and back meanwhile (`dataco ingest"
                    + " use`, epoch " + owner.epoch() + " now): no offset was moved, and what was read since is read"
                    + " again.");
        }
        return LedgerException.otherOwner("Topic " + topic + " is ingested by "
                + owner.mode().description() + ", not by " + mode.description() + " (epoch " + owner.epoch()
                + "). No offset was moved. `dataco ingest use " + mode.code() + "` changes it (docs/connect.md).");
    }

    private static String key(String topic, int partition) {
        return String.format("%s/%05d", topic, partition);
    }
}
