package dataco.ledgers;

import dataco.hbase.StoreException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.CheckAndMutate;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.Get;
import org.apache.hadoop.hbase.client.Put;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.ResultScanner;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.client.Table;

/**
 * The HBase table under a ledger: its cells hold text, and change by compare-and-put.
 *
 * <p>A compare-and-put does not depend on the region server's clock: its time is never below that of the cell it
 * replaces.
 */
class LedgerTable implements AutoCloseable {
    private final Table table;

    LedgerTable(Connection connection, String table) throws StoreException {
        try {
            this.table = connection.getTable(TableName.valueOf(table));
        } catch (IOException error) {
            throw StoreException.of(error, table);
        }
    }

    @Override
    public final void close() throws StoreException {
        try {
            table.close();
        } catch (IOException error) {
            throw failure(error);
        }
    }

    final Table table() {
        return table;
    }

    final StoreException failure(Throwable error) {
        return StoreException.of(error, table.getName().getNameAsString());
    }

    /** Reads a cell; null when there is none. */
    final String read(String row, CellName cell) throws StoreException {
        try {
            Result found = table.get(new Get(bytes(row)).addColumn(cell.family(), cell.qualifier()));
            return text(found.getValue(cell.family(), cell.qualifier()));
        } catch (IOException error) {
            throw failure(error);
        }
    }

    /** Reads the rows that a scan finds; for ledgers, which are small. */
    final List<Result> scan(Scan scan) throws StoreException {
        List<Result> rows = new ArrayList<>();
        try (ResultScanner scanner = table.getScanner(scan)) {
            scanner.forEach(rows::add);
        } catch (UncheckedIOException error) {
            throw failure(error.getCause());
        } catch (IOException error) {
            throw failure(error);
        }
        return rows;
    }

    /**
     * Writes a cell if it holds what is expected (null: if it is absent); atomic.
     *
     * <p>After a call that broke off, false may mean that the first try had succeeded: read before concluding.
     */
    final boolean putIf(String row, CellName cell, String expected, String value) throws StoreException {
        return putIf(row, cell, expected, value, null);
    }

    /** Does the same; the cell expires after a time, null: never. */
    private boolean putIf(String row, CellName cell, String expected, String value, Duration kept)
            throws StoreException {
        CheckAndMutate.Builder check = CheckAndMutate.newBuilder(bytes(row));
        if (expected == null) {
            check.ifNotExists(cell.family(), cell.qualifier());
        } else {
            check.ifEquals(cell.family(), cell.qualifier(), bytes(expected));
        }
        Put put = new Put(bytes(row)).addColumn(cell.family(), cell.qualifier(), bytes(value));
        if (kept != null) {
            put.setTTL(kept.toMillis());
        }
        try {
            return table.checkAndMutate(check.build(put)).isSuccess();
        } catch (IOException error) {
            throw failure(error);
        }
    }

    /** Replaces a cell's value atomically. The change is asked again when somebody else changed the cell meanwhile. */
    final void change(String row, CellName cell, Change change) throws StoreException, LedgerException {
        change(row, cell, change, null);
    }

    /** Does the same, and the new value expires after a time. */
    final void change(String row, CellName cell, Change change, Duration kept) throws StoreException, LedgerException {
        while (true) {
            String present = read(row, cell);
            Optional<String> value = change.of(present);
            if (value.isEmpty() || value.get().equals(present) || putIf(row, cell, present, value.get(), kept)) {
                return;
            }
        }
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }

    /** Gives the new value of a cell for the present one, null when there is none; empty leaves it as it is. */
    @FunctionalInterface
    interface Change {
        Optional<String> of(String present) throws StoreException, LedgerException;
    }
}
