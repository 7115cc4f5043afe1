package dataco.ledgers;

import dataco.hbase.StoreException;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.UUID;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.Get;
import org.apache.hadoop.hbase.client.Increment;
import org.apache.hadoop.hbase.client.Put;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.Row;
import org.apache.hadoop.hbase.util.Bytes;

/**
 * The hour ledger: which hours need computing. This is the part that marks hours dirty; the same cells and rules as
 * {@code dataco_assets/ledgers/hours.py}, which describes them.
 */
public final class HourLedger extends LedgerTable {
    private static final CellName DIRTY = CellName.of("h", "dirty");
    private static final CellName DONE = CellName.of("h", "done");
    private static final CellName FIRST_STORED_AT = CellName.of("h", "first_stored_at");
    private static final CellName LOW = CellName.of("h", "low");
    private static final CellName CLOCK = CellName.of("h", "clock");
    private static final String LOW_ROW = "low-water";
    private static final String CLOCK_ROWS = "clock/";
    private static final long CLOCK_TTL_MS = 60_000;

    /** Opens the ledger; the connection stays the caller's. */
    public HourLedger(Connection connection, String table) throws StoreException {
        super(connection, table);
    }

    /**
     * Returns the hours that clicks of these times touch and that have to be marked, epoch ms.
     *
     * <p>An hour behind those of the clicks is left out while it holds no click: its first one marks it. So this is asked
     * when the clicks are stored.
     *
     * @param earliestMs start of the first partition: hours before it are left out
     */
    public SortedSet<Long> touchedBy(Collection<Long> timesMs, long earliestMs) throws StoreException {
        SortedSet<Long> certain = new TreeSet<>();
        SortedSet<Long> after = new TreeSet<>();
        for (long time : timesMs) {
            long neighbour = Hours.neighbourOf(time);
            certain.add(Hours.hourOf(time));
            (neighbour < time ? certain : after).add(neighbour);
        }
        after.removeAll(certain);
        List<Long> asked = List.copyOf(after);
        Result[] rows = readFirstStored(asked);
        for (int i = 0; i < rows.length; i++) {
            if (!rows[i].isEmpty()) {
                certain.add(asked.get(i));
            }
        }
        return new TreeSet<>(certain.tailSet(earliestMs));
    }

    /**
     * Notes that clicks were stored or deleted.
     *
     * @param hours all hours to mark, from {@link #touchedBy}
     * @param times times of the stored clicks: the hours that these are in hold clicks
     * @param storedSinceMs HBase's time when none of these clicks was stored yet, epoch ms
     */
    public void markDirty(SortedSet<Long> hours, Collection<Long> times, long storedSinceMs)
            throws StoreException, LedgerException {
        if (hours.isEmpty()) {
            return;
        }
        List<Long> holding =
                times.stream().map(Hours::hourOf).distinct().sorted().toList();
        Result[] known = readFirstStored(holding);
        for (int i = 0; i < known.length; i++) {
            if (known[i].isEmpty()) {
                putIf(Hours.key(holding.get(i)), FIRST_STORED_AT, null, Long.toString(storedSinceMs));
            }
        }
        raise(hours);
        long oldest = hours.first();
        change(
                LOW_ROW,
                LOW,
                present -> Optional.of(LowWater.of(present).loweredTo(oldest).encode()));
    }

    /**
     * Notes why hours are about to become dirty, if not by late clicks alone; call it before they are marked.
     *
     * @param hours the hours, epoch ms
     * @param cause why, for the restatements of those that were final
     */
    public void noteCause(Collection<Long> hours, Cause cause) throws StoreException, LedgerException {
        CellName cell = CellName.of("h", cause.cell());
        for (long hour : hours) {
            String row = Hours.key(hour);
            Result state = readState(row);
            long generation = number(state, DIRTY) + 1;
            long done = number(state, DONE);
            change(
                    row,
                    cell,
                    present -> Optional.of(CauseRange.of(present, generation)
                            .extended(generation, done)
                            .encode()));
        }
    }

    /** Returns HBase's own time, epoch ms: the only one that can be compared with the times at which clicks are stored. */
    public long serverTimeMs() throws StoreException {
        byte[] row = bytes(CLOCK_ROWS + UUID.randomUUID().toString().replace("-", ""));
        Put put = new Put(row).addColumn(CLOCK.family(), CLOCK.qualifier(), new byte[0]);
        put.setTTL(CLOCK_TTL_MS);
        try {
            table().put(put);
            Result written = table().get(new Get(row).addColumn(CLOCK.family(), CLOCK.qualifier()));
            if (written.isEmpty()) {
                throw new IOException("a cell that was just written is not shown");
            }
            return written.rawCells()[0].getTimestamp();
        } catch (IOException error) {
            throw failure(error);
        }
    }

    private Result readState(String row) throws StoreException {
        Get get = new Get(bytes(row))
                .addColumn(DIRTY.family(), DIRTY.qualifier())
                .addColumn(DONE.family(), DONE.qualifier());
        try {
            return table().get(get);
        } catch (IOException error) {
            throw failure(error);
        }
    }

    private static long number(Result row, CellName cell) {
        byte[] value = row.getValue(cell.family(), cell.qualifier());
        return value == null ? 0 : Bytes.toLong(value);
    }

    private Result[] readFirstStored(List<Long> hours) throws StoreException {
        List<Get> gets = hours.stream()
                .map(hour -> new Get(bytes(Hours.key(hour)))
                        .addColumn(FIRST_STORED_AT.family(), FIRST_STORED_AT.qualifier()))
                .toList();
        try {
            return gets.isEmpty() ? new Result[0] : table().get(gets);
        } catch (IOException error) {
            throw failure(error);
        }
    }

    private void raise(Collection<Long> hours) throws StoreException {
        List<Row> increments = new ArrayList<>();
        for (long hour : hours) {
            increments.add(new Increment(bytes(Hours.key(hour))).addColumn(DIRTY.family(), DIRTY.qualifier(), 1));
        }
        try {
            table().batch(increments, new Object[increments.size()]); // throws if any of them failed
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw failure(new InterruptedIOException("interrupted while marking hours"));
        } catch (IOException error) {
            throw failure(error);
        }
    }
}
