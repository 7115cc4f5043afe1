package dataco.hbase;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.ConnectException;
import java.net.SocketTimeoutException;
import java.util.List;
import java.util.stream.Stream;
import org.apache.hadoop.hbase.CallQueueTooBigException;
import org.apache.hadoop.hbase.NotServingRegionException;
import org.apache.hadoop.hbase.RegionTooBusyException;
import org.apache.hadoop.hbase.ServerName;
import org.apache.hadoop.hbase.TableNotEnabledException;
import org.apache.hadoop.hbase.TableNotFoundException;
import org.apache.hadoop.hbase.client.Put;
import org.apache.hadoop.hbase.client.RetriesExhaustedException;
import org.apache.hadoop.hbase.client.RetriesExhaustedWithDetailsException;
import org.apache.hadoop.hbase.exceptions.RegionMovedException;
import org.apache.hadoop.hbase.exceptions.RegionOpeningException;
import org.apache.hadoop.hbase.ipc.ServerNotRunningYetException;
import org.apache.hadoop.hbase.regionserver.NoSuchColumnFamilyException;
import org.apache.hadoop.hbase.regionserver.RegionServerStoppedException;
import org.apache.hadoop.hbase.security.AccessDeniedException;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Which of HBase's failures end by themselves, bare and as HBase's client wraps them when its retries are used up. */
class StoreExceptionTest {
    private static final ServerName SERVER = ServerName.valueOf("server", 16020, 1);

    static Stream<Throwable> passing() {
        return Stream.of(
                new RegionTooBusyException("Over memstore limit=1.0 M"),
                new NotServingRegionException("clicks,03,1 is not online"),
                new RegionMovedException(SERVER, 1),
                new RegionOpeningException("clicks,03,1 is opening"),
                new CallQueueTooBigException("call queue is full"),
                new ServerNotRunningYetException("server is not running yet"),
                new RegionServerStoppedException("server is stopping"),
                new TableNotEnabledException("clicks"),
                new SocketTimeoutException("callTimeout=10000"),
                new ConnectException("Connection refused"));
    }

    static Stream<Throwable> permanent() {
        return Stream.of(
                new TableNotFoundException("clicks"),
                new NoSuchColumnFamilyException("Column family geo_data does not exist"),
                new AccessDeniedException("Insufficient permissions"));
    }

    @ParameterizedTest
    @MethodSource("passing")
    void endsByItself(Throwable cause) {
        for (Throwable error : asThrown(cause)) {
            StoreException found = StoreException.of(error, "clicks");
            assertTrue(found.isPassing(), found.getMessage());
            assertTrue(found.getMessage().startsWith("HBase does not serve the table clicks: "), found.getMessage());
        }
    }

    @ParameterizedTest
    @MethodSource("permanent")
    void waitsForAPerson(Throwable cause) {
        for (Throwable error : asThrown(cause)) {
            StoreException found = StoreException.of(error, "clicks");
            assertFalse(found.isPassing(), found.getMessage());
            assertEquals(
                    "HBase refuses the table clicks (" + cause.getClass().getSimpleName() + ")",
                    found.getMessage().substring(0, found.getMessage().indexOf(": ")));
        }
    }

    private static List<Throwable> asThrown(Throwable cause) {
        Put put = new Put(new byte[] {1});
        return List.of(
                cause,
                new RetriesExhaustedException("Failed after attempts=16", new IOException(cause)),
                new RetriesExhaustedWithDetailsException(List.of(cause), List.of(put), List.of("server,16020,1")));
    }
}
