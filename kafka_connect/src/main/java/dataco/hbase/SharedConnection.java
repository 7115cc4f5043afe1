package dataco.hbase;

import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;

/** One connection to HBase for all tasks of a worker that have the same configuration; closed with the last of them. */
public final class SharedConnection implements AutoCloseable {
    private static final Map<Map<String, String>, SharedConnection> OPEN = new HashMap<>();

    private final Map<String, String> options;
    private final Connection connection;
    private int users;

    private SharedConnection(Map<String, String> options, Connection connection) {
        this.options = options;
        this.connection = connection;
    }

    /**
     * Returns the connection with this configuration. Whoever asked for it closes it; others keep it.
     *
     * @param options HBase's own names and values
     */
    public static SharedConnection of(Map<String, String> options) throws StoreException {
        synchronized (OPEN) {
            SharedConnection shared = OPEN.get(options);
            if (shared == null) {
                shared = new SharedConnection(Map.copyOf(options), connect(options));
                OPEN.put(shared.options, shared);
            }
            shared.users++;
            return shared;
        }
    }

    /** Returns HBase's connection. */
    public Connection connection() {
        return connection;
    }

    @Override
    public void close() throws StoreException {
        synchronized (OPEN) {
            users--;
            if (users > 0) {
                return;
            }
            OPEN.remove(options);
        }
        try {
            connection.close();
        } catch (IOException error) {
            throw StoreException.of(error, "(any)");
        }
    }

    private static Connection connect(Map<String, String> options) throws StoreException {
        Configuration configuration = HBaseConfiguration.create();
        options.forEach(configuration::set);
        try {
            return ConnectionFactory.createConnection(configuration);
        } catch (IOException error) {
            throw StoreException.of(error, "(any)");
        }
    }
}
