package dataco.connect;

import dataco.clicks.Reason;
import dataco.kafka.RejectedClick;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.metrics.Gauge;
import org.apache.kafka.common.metrics.PluginMetrics;

/** What a task did since its start, in JMX (and wherever else the worker reports metrics to). */
final class SinkMetrics {
    private static final long MS_PER_SECOND = 1_000;

    private final AtomicLong stored = new AtomicLong();
    private final AtomicLong suppressed = new AtomicLong();
    private final AtomicLong retries = new AtomicLong();
    private final AtomicLong secondsBehind = new AtomicLong();
    private final Map<Reason, AtomicLong> rejected = new EnumMap<>(Reason.class);

    SinkMetrics(PluginMetrics metrics) {
        add(metrics, "clicks-stored-total", "Valid messages stored; one delivered again counts again.", stored);
        add(metrics, "clicks-suppressed-total", "Messages dropped because their user was erased.", suppressed);
        add(metrics, "retries-total", "Failures after which the task began again where the ledger is.", retries);
        add(
                metrics,
                "seconds-behind",
                "Time from the last message's arrival in Kafka until the checkpoint that made it durable.",
                secondsBehind);
        for (Reason reason : Reason.values()) {
            AtomicLong count = new AtomicLong();
            rejected.put(reason, count);
            LinkedHashMap<String, String> tags = new LinkedHashMap<>(Map.of("reason", reason.code()));
            metrics.addMetric(
                    metrics.metricName("clicks-rejected-total", "Messages sent to the rejected topic.", tags),
                    gauge(count));
        }
    }

    /** Counts what a checkpoint made durable. */
    void checkpoint(Window window) {
        stored.addAndGet(window.stored());
        suppressed.addAndGet(window.suppressed());
        for (RejectedClick click : window.rejected()) {
            rejected.get(click.rejection().reason()).incrementAndGet();
        }
        secondsBehind.set(Math.max(0, System.currentTimeMillis() - window.lastArrivedMs()) / MS_PER_SECOND);
    }

    void retry() {
        retries.incrementAndGet();
    }

    private static void add(PluginMetrics metrics, String name, String description, AtomicLong value) {
        metrics.addMetric(metrics.metricName(name, description, new LinkedHashMap<>()), gauge(value));
    }

    private static Gauge<Long> gauge(AtomicLong value) {
        return (config, now) -> value.get();
    }
}
