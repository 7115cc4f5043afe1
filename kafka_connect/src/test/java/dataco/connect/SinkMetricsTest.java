package dataco.connect;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dataco.clicks.Reason;
import dataco.clicks.Rejection;
import dataco.kafka.RejectedClick;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import javax.management.JMException;
import javax.management.ObjectName;
import org.apache.kafka.common.metrics.JmxReporter;
import org.apache.kafka.common.metrics.KafkaMetricsContext;
import org.apache.kafka.common.metrics.Metrics;
import org.apache.kafka.common.metrics.internals.PluginMetricsImpl;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What a task reports, read back from the platform's MBean server as a monitoring agent reads it. */
class SinkMetricsTest {
    private static final String DOMAIN = "sink.metrics.test";
    private static final long HOUR_MS = 3_600_000;
    private static final Place PLACE = new Place(0, 1);
    private static final byte[] KEY =
            "0c-0000003600000-6b366216e5486b5ecab7cf5d6077e43c".getBytes(StandardCharsets.US_ASCII);

    private final Metrics metrics = new Metrics();

    @BeforeEach
    void reportToJmx() {
        JmxReporter reporter = new JmxReporter();
        reporter.contextChange(new KafkaMetricsContext(DOMAIN));
        metrics.addReporter(reporter);
    }

    @AfterEach
    void close() {
        metrics.close();
    }

    @Test
    void countsWhatEachCheckpointMadeDurable() throws JMException {
        SinkMetrics counts = new SinkMetrics(ofTask());
        Window first = new Window(0, Map.of());
        first.store(PLACE, KEY, "u1", HOUR_MS, false);
        first.store(PLACE, KEY, "u2", HOUR_MS, false);
        first.suppress(PLACE);
        first.reject(rejected(Reason.MALFORMED_JSON));
        first.reject(rejected(Reason.MALFORMED_JSON));
        first.reject(rejected(Reason.INVALID_URL));
        first.arrived(System.currentTimeMillis() - HOUR_MS);
        counts.checkpoint(first);
        Window second = new Window(0, Map.of());
        second.store(PLACE, KEY, "u1", HOUR_MS, false);
        second.takeBack(rejected(Reason.REFUSED_BY_STORE));
        second.store(PLACE, KEY, "u3", HOUR_MS, false);
        second.arrived(System.currentTimeMillis() - HOUR_MS);
        counts.checkpoint(second);
        counts.retry();

        assertEquals(3L, read("clicks-stored-total", ""));
        assertEquals(1L, read("clicks-suppressed-total", ""));
        assertEquals(1L, read("retries-total", ""));
        assertEquals(2L, read("clicks-rejected-total", Reason.MALFORMED_JSON.code()));
        assertEquals(1L, read("clicks-rejected-total", Reason.INVALID_URL.code()));
        assertEquals(1L, read("clicks-rejected-total", Reason.REFUSED_BY_STORE.code()));
        assertEquals(0L, read("clicks-rejected-total", Reason.UNKNOWN_SCHEMA.code()));
        long behind = read("seconds-behind", "");
        assertTrue(behind >= 3_600 && behind < 3_660, () -> behind + " s behind");
    }

    @Test
    void taskThatBeginsBeforeTheFormerOneHasEndedReportsWhenThatHas() throws Exception {
        PluginMetricsImpl former = ofTask();
        new SinkMetrics(former).retry();
        SinkMetrics counts = new SinkMetrics(ofTask());
        Window window = new Window(0, Map.of());
        window.store(PLACE, KEY, "u1", HOUR_MS, false);
        counts.checkpoint(window);
        assertEquals(0L, read("clicks-stored-total", ""));

        former.close();
        window.store(PLACE, KEY, "u2", HOUR_MS, false);
        counts.checkpoint(window);
        assertEquals(3L, read("clicks-stored-total", ""));
        assertEquals(0L, read("retries-total", ""));
    }

    /** Metrics with the tags that Connect gives those of a task's plugin. */
    private PluginMetricsImpl ofTask() {
        return new PluginMetricsImpl(metrics, Map.of("connector", "clicks", "task", "0"));
    }

    private static long read(String metric, String reason) throws JMException {
        String tags = ",connector=clicks,task=0" + (reason.isEmpty() ? "" : ",reason=" + reason);
        ObjectName name = new ObjectName(DOMAIN + ":type=plugins" + tags);
        return (Long) ManagementFactory.getPlatformMBeanServer().getAttribute(name, metric);
    }

    private static RejectedClick rejected(Reason reason) {
        byte[] value = "x".getBytes(StandardCharsets.UTF_8);
        return new RejectedClick("clicks", 0, 1, 2, null, value, List.of(), new Rejection(reason, "why"));
    }
}
