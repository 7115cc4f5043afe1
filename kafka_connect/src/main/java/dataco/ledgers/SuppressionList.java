package dataco.ledgers;

import dataco.hbase.StoreException;
import java.util.HashMap;
import java.util.Map;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.Scan;

/** The list of erased users in HBase; see {@code dataco_assets/ledgers/suppression.py}. */
public final class SuppressionList extends LedgerTable {
    private static final CellName ERASED_AT = CellName.of("s", "erased_at");

    /** Opens the list; the connection stays the caller's. */
    public SuppressionList(Connection connection, String table) throws StoreException {
        super(connection, table);
    }

    /** Returns all erased users; a missing table is an error, since an empty list would be the wrong answer. */
    public ErasedUsers read() throws StoreException {
        Scan scan = new Scan().addColumn(ERASED_AT.family(), ERASED_AT.qualifier());
        Map<String, Long> users = new HashMap<>();
        for (Result row : scan(scan)) {
            String erasedAt = text(row.getValue(ERASED_AT.family(), ERASED_AT.qualifier()));
            users.put(text(row.getRow()), Long.parseLong(erasedAt));
        }
        return new ErasedUsers(users);
    }
}
