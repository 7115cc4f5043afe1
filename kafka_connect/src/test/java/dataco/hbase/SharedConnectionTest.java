package dataco.hbase;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;

import java.util.Map;
import java.util.concurrent.ExecutorService;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.BufferedMutator;
import org.apache.hadoop.hbase.client.BufferedMutatorParams;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.RegionLocator;
import org.apache.hadoop.hbase.client.TableBuilder;
import org.apache.hadoop.hbase.security.User;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** How many connections tasks have, and when they end. */
class SharedConnectionTest {
    private static final Map<String, String> OPTIONS =
            Map.of("hbase.client.connection.impl", Counted.class.getName(), "hbase.zookeeper.quorum", "zookeeper:2181");

    @BeforeEach
    void count() {
        Counted.opened = 0;
        Counted.closed = 0;
    }

    @Test
    void tasksOfOneConfigurationShareAConnectionUntilTheLastCloses() throws StoreException {
        SharedConnection first = SharedConnection.of(OPTIONS);
        SharedConnection second = SharedConnection.of(Map.copyOf(OPTIONS));
        assertSame(first.connection(), second.connection());
        first.close();
        assertEquals(0, Counted.closed);
        SharedConnection third = SharedConnection.of(OPTIONS);
        second.close();
        assertEquals(0, Counted.closed);
        third.close();
        assertEquals(1, Counted.opened);
        assertEquals(1, Counted.closed);

        SharedConnection.of(OPTIONS).close();
        assertEquals(2, Counted.opened);
        assertEquals(2, Counted.closed);
    }

    @Test
    void anotherConfigurationHasAConnectionOfItsOwn() throws StoreException {
        Map<String, String> others =
                Map.of("hbase.client.connection.impl", Counted.class.getName(), "hbase.rpc.timeout", "5");
        try (SharedConnection one = SharedConnection.of(OPTIONS);
                SharedConnection other = SharedConnection.of(others)) {
            assertNotSame(one.connection(), other.connection());
        }
        assertEquals(2, Counted.closed);
    }

    /** A connection that leads nowhere. */
    static final class Counted implements Connection {
        private static int opened;
        private static int closed;

        Counted(Configuration configuration, ExecutorService pool, User user, Map<String, byte[]> attributes) {
            opened++;
        }

        @Override
        public void close() {
            closed++;
        }

        @Override
        public boolean isClosed() {
            return false;
        }

        @Override
        public void abort(String why, Throwable error) {
            throw new UnsupportedOperationException();
        }

        @Override
        public boolean isAborted() {
            return false;
        }

        @Override
        public Configuration getConfiguration() {
            throw new UnsupportedOperationException();
        }

        @Override
        public BufferedMutator getBufferedMutator(TableName table) {
            throw new UnsupportedOperationException();
        }

        @Override
        public BufferedMutator getBufferedMutator(BufferedMutatorParams table) {
            throw new UnsupportedOperationException();
        }

        @Override
        public RegionLocator getRegionLocator(TableName table) {
            throw new UnsupportedOperationException();
        }

        @Override
        public void clearRegionLocationCache() {
            throw new UnsupportedOperationException();
        }

        @Override
        public Admin getAdmin() {
            throw new UnsupportedOperationException();
        }

        @Override
        public TableBuilder getTableBuilder(TableName table, ExecutorService pool) {
            throw new UnsupportedOperationException();
        }
    }
}
