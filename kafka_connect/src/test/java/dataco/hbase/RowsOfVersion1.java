package dataco.hbase;

import dataco.clicks.Hashes;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.hadoop.hbase.Cell;
import org.apache.hadoop.hbase.CellUtil;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.Delete;
import org.apache.hadoop.hbase.client.Put;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.ResultScanner;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.client.Table;

/** Gives rows the keys of version 1, whose hash was that of the event id alone. */
public final class RowsOfVersion1 {
    private static final int HASH_START = 17;
    private static final byte[] FAMILY = "click_data".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] EVENT_ID = "event_id".getBytes(StandardCharsets.US_ASCII);

    private RowsOfVersion1() {}

    /** Renames all rows of a clicks table. */
    public static void rename(Connection connection, String name) throws StoreException {
        try (Table table = connection.getTable(TableName.valueOf(name));
                ResultScanner rows = table.getScanner(new Scan())) {
            for (Result row : rows) {
                Put renamed = new Put(keyOf(row));
                if (!Arrays.equals(renamed.getRow(), row.getRow())) {
                    for (Cell cell : row.rawCells()) {
                        renamed.addColumn(
                                CellUtil.cloneFamily(cell), CellUtil.cloneQualifier(cell), CellUtil.cloneValue(cell));
                    }
                    table.put(renamed);
                    table.delete(new Delete(row.getRow()));
                }
            }
        } catch (IOException error) {
            throw StoreException.of(error, name);
        }
    }

    private static byte[] keyOf(Result row) {
        String key = new String(row.getRow(), StandardCharsets.US_ASCII);
        String hash = Hashes.hexOf(row.getValue(FAMILY, EVENT_ID));
        return (key.substring(0, HASH_START) + hash).getBytes(StandardCharsets.US_ASCII);
    }
}
