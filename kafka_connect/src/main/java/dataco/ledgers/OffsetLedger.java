package dataco.ledgers;

import dataco.hbase.StoreException;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.Scan;

/**
 * The offset ledger: the next offset to ingest in each partition, and who ingests.
 *
 * <p>The same table, cells and rules as the drain's ({@code dataco_assets/ledgers/offsets.py}). Positions move forwards
 * only, never over a gap, and only by compare-and-put on a cell that has the owner's own epoch. Whoever ingests claims
 * its partitions first: that writes its epoch into their cells, so no commit of a former owner succeeds afterwards.
 */
public final class OffsetLedger extends LedgerTable {
    private static final CellName NEXT = CellName.of("o", "next");
    private static final CellName OWNER = CellName.of("o", "owner");

    /** Opens the ledger; the connection stays the caller's. */
    public OffsetLedger(Connection connection, String table) throws StoreException {
        super(connection, table);
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
                    : Optional.of(new OffsetCell(cell.position(), owner.epoch()).encode());
        });
    }

    /**
     * Moves a position to the end of offsets whose clicks are durable. One that another task of the same owner has moved
     * further meanwhile stays there.
     *
     * @throws LedgerException the position is before these offsets, or the partition was claimed by another owner
     */
    public void advance(String topic, String topicId, StoredOffsets stored, Owner owner)
            throws StoreException, LedgerException {
        String value = new OffsetCell(new Position(topicId, stored.end()), owner.epoch()).encode();
        change(key(topic, stored.partition()), NEXT, present -> {
            OffsetCell cell = OffsetCell.of(present);
            if (cell.epoch() != owner.epoch()) {
                throw otherOwner(topic, owner(topic), owner.mode());
            }
            return isBehind(topic, topicId, cell.position(), stored) ? Optional.of(value) : Optional.empty();
        });
    }

    private Owner owner(String topic) throws StoreException {
        return Owner.of(read(topic + "#owner", OWNER)); // no topic's name can have this character
    }

    static boolean isBehind(String topic, String topicId, Position position, StoredOffsets stored)
            throws LedgerException {
        if (position == null) {
            return true;
        }
        if (!position.topicId().equals(topicId) || position.nextOffset() < stored.start()) {
            throw LedgerException.gap("Topic " + topic + ", partition " + stored.partition()
                    + ": the offset ledger is at "
                    + position.nextOffset() + " (topic id " + position.topicId() + "), so offsets [" + stored.start()
                    + ", " + stored.end() + ") of topic id " + topicId
                    + " cannot follow. Another task changed it; these clicks are read again.");
        }
        return position.nextOffset() < stored.end();
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
