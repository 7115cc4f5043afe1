package dataco.connect;

import dataco.clicks.Reason;
import dataco.kafka.RejectedClick;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.MetricName;
import org.apache.kafka.common.metrics.Gauge;
import org.apache.kafka.common.metrics.PluginMetrics;

/**
 * What a task did since its start, in JMX (and wherever else the worker reports metrics to).
 *
 * <p>A worker starts a task again without waiting longer than {@code task.shutdown.graceful.timeout.ms} for the end of the
 * former one, whose metrics have the same names. So a name that is taken is registered later.
 */
final class SinkMetrics {
    private static final long MS_PER_SECOND = 1_000;

    private final AtomicLong stored = new AtomicLong();
    private final AtomicLong suppressed = new AtomicLong();
    private final AtomicLong retries = new AtomicLong();
    private final AtomicLong secondsBehind = new AtomicLong();
    private final Map<Reason, AtomicLong> rejected = new EnumMap<>(Reason.class);
    private final PluginMetrics metrics;
    private final Map<MetricName, Gauge<Long>> unregistered = new LinkedHashMap<>();

    SinkMetrics(PluginMetrics metrics) {
        this.metrics = metrics;
        add("clicks-stored-total", "Valid messages stored; one delivered again counts again.", stored);
        add("clicks-suppressed-total", "Messages dropped because their user was erased.", suppressed);
        add("retries-total", "Failures after which the task began again where the ledger is.", retries);
        add(
                "seconds-behind",
                "Time from the last message's arrival in Kafka until the checkpoint that made it durable.",
                secondsBehind);
        for (Reason reason : Reason.values()) {
            AtomicLong count = new AtomicLong();
            rejected.put(reason, count);
            add(
                    "clicks-rejected-total",
                    "Messages sent to the rejected topic.",
                    count,
                    Map.of("reason", reason.code()));
        }
        register();
    }

    /** Counts what a checkpoint made durable. */
    void checkpoint(Window window) {
        stored.addAndGet(window.stored());
        suppressed.addAndGet(window.suppressed());
        for (RejectedClick click : window.rejected()) {
            rejected.get(click.rejection().reason()).incrementAndGet();
        }
        secondsBehind.set(Math.max(0, System.currentTimeMillis() - window.lastArrivedMs()) / MS_PER_SECOND);
        register();
    }

    void retry() {
        retries.incrementAndGet();
        register();
    }

    private void add(String name, String description, AtomicLong value) {
        add(name, description, value, Map.of());
    }

    private void add(String name, String description, AtomicLong value, Map<String, String> tags) {
        MetricName full = metrics.metricName(name, description, new LinkedHashMap<>(tags));
        unregistered.put(full, (config, now) -> value.get());
    }

    private void register() {
        unregistered.entrySet().removeIf(metric -> {
            try {
                metrics.addMetric(metric.getKey(), metric.getValue());
                return true;
            } catch (IllegalArgumentException taken) {
                return false;
            }
        });
    }
}
