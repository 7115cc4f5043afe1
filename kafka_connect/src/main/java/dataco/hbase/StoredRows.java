package dataco.hbase;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.hbase.Cell;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.Delete;
import org.apache.hadoop.hbase.client.Get;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.Table;

/** Finds and deletes rows of the clicks table by key. */
public final class StoredRows {
    private StoredRows() {}

    /**
     * Returns those of the rows that are stored, each with the time of its newest cell (epoch ms).
     *
     * @param keys row keys, a thousand or so
     */
    public static Map<String, Long> find(Connection connection, String name, List<String> keys) throws StoreException {
        List<Get> gets = keys.stream()
                .map(key -> new Get(key.getBytes(StandardCharsets.US_ASCII)))
                .toList();
        Map<String, Long> found = new LinkedHashMap<>();
        try (Table table = connection.getTable(TableName.valueOf(name))) {
            for (Result row : table.get(gets)) {
                long newest = 0;
                for (Cell cell : row.isEmpty() ? new Cell[0] : row.rawCells()) {
                    newest = Math.max(newest, cell.getTimestamp());
                }
                if (!row.isEmpty()) {
                    found.put(new String(row.getRow(), StandardCharsets.US_ASCII), newest);
                }
            }
        } catch (IOException error) {
            throw StoreException.of(error, name);
        }
        return found;
    }

    /** Deletes rows up to the given time of each, whatever the region servers' clocks say. */
    public static void delete(Connection connection, String name, Map<String, Long> rows) throws StoreException {
        List<Delete> deletes = new ArrayList<>();
        rows.forEach((key, timeMs) -> deletes.add(new Delete(key.getBytes(StandardCharsets.US_ASCII), timeMs)));
        try (Table table = connection.getTable(TableName.valueOf(name))) {
            table.delete(deletes);
        } catch (IOException error) {
            throw StoreException.of(error, name);
        }
    }
}
