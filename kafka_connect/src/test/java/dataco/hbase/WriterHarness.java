package dataco.hbase;

import dataco.clicks.Click;
import dataco.clicks.ClickParser;
import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;

/**
 * Writes the clicks on standard input to a table, for the integration test ({@code test_java_writer.py}).
 *
 * <p>Records are framed as {@link dataco.clicks.CodecHarness} reads them; other records than clicks are left out. Lines
 * on standard output say what became of them.
 */
public final class WriterHarness {
    private WriterHarness() {}

    /**
     * Checks the table, writes until standard input ends, and flushes.
     *
     * @param arguments ZooKeeper quorum, table, days that clicks are kept
     */
    public static void main(String[] arguments) throws IOException {
        Configuration configuration = HBaseConfiguration.create();
        configuration.set("hbase.zookeeper.quorum", arguments[0]);
        configuration.set("hbase.client.retries.number", "4");
        configuration.set("hbase.client.operation.timeout", "15000");
        try (Connection connection = ConnectionFactory.createConnection(configuration)) {
            ClicksTableRules.require(connection, arguments[1], Integer.parseInt(arguments[2]));
            try (ClickWriter<Integer> writer = new ClickWriter<>(connection, arguments[1])) {
                int number = write(writer);
                for (RefusedClick<Integer> refused : writer.flush()) {
                    System.out.println("refused " + refused.origin() + " " + refused.why());
                }
                System.out.println("read " + number);
            }
        } catch (StoreException error) {
            System.out.println((error.isPassing() ? "passing " : "permanent ") + error.getMessage());
        }
    }

    private static int write(ClickWriter<Integer> writer) throws IOException, StoreException {
        try (DataInputStream records = new DataInputStream(new BufferedInputStream(System.in))) {
            for (int number = 0; ; number++) {
                long recordTimeMs;
                try {
                    recordTimeMs = records.readLong();
                } catch (EOFException end) {
                    return number;
                }
                long earliestMs = records.readLong();
                byte[] payload = records.readNBytes(records.readInt());
                if (ClickParser.parse(payload, recordTimeMs, earliestMs) instanceof Click click) {
                    writer.add(click, number, payload.length);
                }
            }
        }
    }
}
