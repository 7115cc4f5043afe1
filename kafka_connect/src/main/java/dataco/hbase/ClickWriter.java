package dataco.hbase;

import dataco.clicks.Click;
import dataco.clicks.Column;
import dataco.clicks.RowKey;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.Put;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.RetriesExhaustedWithDetailsException;
import org.apache.hadoop.hbase.client.Table;

/**
 * Writes clicks to HBase in bounded batches, and singles out those that HBase refuses.
 *
 * <p>HBase gives the mutations of one row inside one batch no order, so a batch holds each row key once: of two clicks
 * with the same key, the later one is written. How long a batch is tried is the connection's setting.
 *
 * <p>Batches are written one after another, so that the later click wins in different ones, too, by a thread of the
 * writer's own: while HBase stores a batch, the next one is filled. For one thread.
 *
 * @param <O> what tells where a click came from
 */
public final class ClickWriter<O> implements AutoCloseable {
    private static final long BATCH_BYTES = 4_000_000;
    private static final int BATCH_ROWS = 5_000;

    /** A small row may come from a large message, which is held until the row is durable. */
    private static final long BATCH_ORIGIN_BYTES = 8_000_000;

    /** If every row of a batch this large is refused, the cause is the table. */
    private static final int TELLING_ROWS = 100;

    private static final Pattern ROW_TOO_LARGE =
            Pattern.compile("KeyValue size too large|exceeds limit of \\d+ bytes|Row length \\d+ is > \\d+");
    private static final List<QualifiedColumn> COLUMNS = QualifiedColumn.all();

    private final Table table;
    private List<Row<O>> batch = new ArrayList<>();
    private long batchBytes;
    private long batchOriginBytes;
    private final ExecutorService background = Executors.newSingleThreadExecutor(ClickWriter::thread);
    private Future<Void> underway = CompletableFuture.completedFuture(null);

    /** Of the batches that were written; the thread that writes has it while a batch is underway. */
    private List<RefusedClick<O>> refused = new ArrayList<>();

    /** Prepares writing to a table; the connection stays the caller's. */
    public ClickWriter(Connection connection, String table) throws StoreException {
        try {
            this.table = connection.getTable(TableName.valueOf(table));
        } catch (IllegalArgumentException error) {
            throw StoreException.invalidName(table, error);
        } catch (IOException error) {
            throw StoreException.of(error, table);
        }
    }

    /**
     * Adds a click, writes the batch when it is full, and returns the click's row key.
     *
     * @param origin where the click came from; {@link #flush} returns it if HBase refuses the click
     * @param originBytes memory that the origin holds
     * @throws StoreException this batch or an earlier one failed
     */
    public byte[] add(Click click, O origin, long originBytes) throws StoreException {
        Put put = new Put(RowKey.of(click));
        long bytes = 0;
        for (QualifiedColumn column : COLUMNS) {
            byte[] cell = column.column().cell(click);
            put.addColumn(column.family(), column.qualifier(), cell);
            bytes += put.getRow().length + column.qualifier().length + cell.length;
        }
        boolean full = batchBytes + bytes > BATCH_BYTES || batchOriginBytes + originBytes > BATCH_ORIGIN_BYTES;
        if (full || batch.size() == BATCH_ROWS) {
            writeBatch();
        }
        batch.add(new Row<>(put, origin));
        batchBytes += bytes;
        batchOriginBytes += originBytes;
        return put.getRow();
    }

    /**
     * Writes what is left and returns the refused clicks since the last flush. All others are durable.
     *
     * @throws StoreException a batch failed; no click since the last flush may be counted on
     */
    public List<RefusedClick<O>> flush() throws StoreException {
        writeBatch();
        awaitBatch();
        List<RefusedClick<O>> found = refused;
        refused = new ArrayList<>();
        return found;
    }

    /** Waits for the batch that is underway, and closes the table. Clicks that were not flushed may be stored or not. */
    @Override
    public void close() throws StoreException {
        background.shutdown();
        try {
            background.awaitTermination(Long.MAX_VALUE, TimeUnit.NANOSECONDS); // the connection bounds it
            table.close();
        } catch (IOException error) {
            throw StoreException.of(error, name());
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    /** Hands the batch to the thread that writes, once the one before it is durable. */
    private void writeBatch() throws StoreException {
        awaitBatch();
        List<Row<O>> rows = batch;
        batch = new ArrayList<>();
        batchBytes = 0;
        batchOriginBytes = 0;
        underway = background.submit(() -> {
            writeLatest(rows);
            return null;
        });
    }

    /**
     * Returns when the batch that is underway is durable, but for the rows that HBase refused.
     *
     * <p>If it fails, it stays the one underway and fails here each time: after a lost batch, no later flush may report
     * that everything is durable.
     */
    private void awaitBatch() throws StoreException {
        try {
            underway.get();
        } catch (ExecutionException error) {
            if (error.getCause() instanceof StoreException failure) {
                throw failure;
            }
            throw new IllegalStateException(error.getCause());
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw StoreException.of(new InterruptedIOException("interrupted while writing"), name());
        }
    }

    private static Thread thread(Runnable work) {
        Thread thread = new Thread(work, "click-writer");
        thread.setDaemon(true);
        return thread;
    }

    /** Writes, of the rows with the same key, the last; where HBase refuses that one, the one before it. */
    private void writeLatest(List<Row<O>> rows) throws StoreException {
        // Sorted: each of the calls into which HBase's client divides a batch then goes to few regions, each of which
        // syncs the log once.
        Map<String, List<Row<O>>> versions = new TreeMap<>();
        for (Row<O> row : rows) {
            versions.computeIfAbsent(row.key(), key -> new ArrayList<>()).add(row);
        }
        while (!versions.isEmpty()) {
            List<Row<O>> latest = versions.values().stream()
                    .map(all -> all.remove(all.size() - 1))
                    .toList();
            Map<Row<O>, String> failed = writeAll(latest);
            failed.forEach((row, why) -> refused.add(new RefusedClick<>(row.origin(), why)));
            versions.keySet().retainAll(failed.keySet().stream().map(Row::key).collect(Collectors.toSet()));
            versions.values().removeIf(List::isEmpty);
        }
    }

    /** Writes rows with different keys and returns those that are refused, with the reason. */
    private Map<Row<O>, String> writeAll(List<Row<O>> rows) throws StoreException {
        Map<Row<O>, String> failed = new LinkedHashMap<>();
        bisect(rows, failed);
        if (failed.size() == rows.size() && rows.size() >= TELLING_ROWS) {
            throw StoreException.permanent("HBase refuses each of " + rows.size() + " clicks for the table " + name()
                    + ", so the cause is no single click: "
                    + failed.values().iterator().next());
        }
        return failed;
    }

    /** Writes rows; those of a region fail together when one of them is refused, so they are tried again in halves. */
    private void bisect(List<Row<O>> rows, Map<Row<O>, String> failed) throws StoreException {
        List<Row<O>> suspects = new ArrayList<>();
        String why = write(rows, suspects);
        if (suspects.isEmpty()) {
            return;
        }
        if (rows.size() == 1) {
            failed.put(rows.get(0), why);
            return;
        }
        int middle = (suspects.size() + 1) / 2;
        bisect(suspects.subList(0, middle), failed);
        if (middle < suspects.size()) {
            bisect(suspects.subList(middle, suspects.size()), failed);
        }
    }

    /** Writes rows in one call; collects those that failed since a row is refused, and returns the first reason. */
    private String write(List<Row<O>> rows, List<Row<O>> suspects) throws StoreException {
        if (rows.isEmpty()) {
            return "";
        }
        Object[] results = new Object[rows.size()];
        IOException error = null;
        try {
            table.batch(rows.stream().map(Row::put).toList(), results);
        } catch (RetriesExhaustedWithDetailsException byRow) {
            error = byRow;
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw StoreException.of(new InterruptedIOException("interrupted while writing"), name());
        } catch (IOException whole) {
            throw StoreException.of(whole, name());
        }
        String why = "";
        for (int i = 0; i < results.length; i++) {
            if (!(results[i] instanceof Result)) {
                String found = refusal(results[i], error);
                why = why.isEmpty() ? found : why;
                suspects.add(rows.get(i));
            }
        }
        return why;
    }

    /** HBase's reason to refuse a row; any other failure is thrown. */
    private String refusal(Object result, IOException error) throws StoreException {
        if (result instanceof Throwable cause) {
            String message = String.valueOf(cause.getMessage());
            if (ROW_TOO_LARGE.matcher(message).find()) {
                return StoreException.firstLine(message);
            }
            throw StoreException.of(cause, name());
        }
        throw StoreException.of(error == null ? new IOException("no answer for a row") : error, name());
    }

    private String name() {
        return table.getName().getNameAsString();
    }

    /**
     * A click as HBase takes it.
     *
     * @param put all of its cells
     * @param origin where it came from
     */
    private record Row<O>(Put put, O origin) {
        String key() {
            return new String(put.getRow(), StandardCharsets.US_ASCII);
        }

        @Override
        public boolean equals(Object other) {
            return this == other; // a Put is equal to another one of the same row
        }

        @Override
        public int hashCode() {
            return System.identityHashCode(this);
        }
    }

    /**
     * A column with its names in bytes.
     *
     * @param column the column
     * @param family name of the family
     * @param qualifier name within the family
     */
    private record QualifiedColumn(Column column, byte[] family, byte[] qualifier) {
        static List<QualifiedColumn> all() {
            List<QualifiedColumn> columns = new ArrayList<>();
            for (Column column : Column.values()) {
                columns.add(new QualifiedColumn(
                        column,
                        column.family().getBytes(StandardCharsets.US_ASCII),
                        column.qualifier().getBytes(StandardCharsets.US_ASCII)));
            }
            return List.copyOf(columns);
        }
    }
}
