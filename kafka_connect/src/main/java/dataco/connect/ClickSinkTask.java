package dataco.connect;

import dataco.failures.IngestException;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTask;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Fits an {@link Ingest} into Connect: when it is opened, fed, and asked for a checkpoint.
 *
 * <p>The offset ledger is the truth. Connect's own offsets are a copy, and where reading begins is always taken from the
 * ledger. Connect only logs what {@link #preCommit} throws, so nothing is thrown there: a failure is kept for the next
 * {@link #put}. One that time may end makes the task begin again where the ledger is, for as long as
 * {@code retry.seconds} allows; any other ends the task.
 */
public class ClickSinkTask extends SinkTask {
    private static final Logger LOG = LoggerFactory.getLogger(ClickSinkTask.class);
    private static final long PAUSE_MS = 1_000;
    private static final long AT_ONCE_MS = 1;

    private final Set<Integer> assigned = new HashSet<>();
    private ClickSinkConfig config;
    private RejectedShare share;
    private SinkMetrics metrics;
    private Servers servers;
    private Ingest ingest;
    private final Patience patience = new Patience();
    private ConnectException failure;
    private long checkpointNanos;

    @Override
    public String version() {
        return ClickSinkConnector.versionOf(ClickSinkTask.class);
    }

    @Override
    public void start(Map<String, String> properties) {
        ClickSinkConnector.requireSurroundings(properties);
        config = new ClickSinkConfig(properties);
        share = new RejectedShare(config.topic(), config.getDouble(ClickSinkConfig.MAX_REJECTED_SHARE));
        metrics = new SinkMetrics(context.pluginMetrics());
        attempt(this::begin);
        throwIfPermanent();
    }

    @Override
    public void open(Collection<TopicPartition> partitions) {
        partitions.forEach(partition -> assigned.add(partition.partition()));
        attempt(() -> {
            if (ingest == null) {
                begin();
            } else {
                seek(ingest.open(numbers(partitions)));
            }
        });
        throwIfPermanent();
    }

    @Override
    public void close(Collection<TopicPartition> partitions) {
        assigned.removeAll(numbers(partitions));
        if (ingest != null) {
            ingest.release(numbers(partitions));
        }
    }

    @Override
    public void put(Collection<SinkRecord> records) {
        throwIfPermanent();
        if (ingest == null) {
            // These messages come from where the failure was. They are read again, from where the ledger is.
            pause();
            attempt(this::begin);
        } else {
            attempt(() -> ingest.take(Messages.of(records)));
        }
        throwIfPermanent();
        askForCheckpoint();
    }

    @Override
    public Map<TopicPartition, OffsetAndMetadata> preCommit(Map<TopicPartition, OffsetAndMetadata> offsets) {
        attempt(this::checkpoint);
        if (ingest == null) {
            // The next put acts on the failure; without messages, Connect would call it in a minute only.
            context.timeout(AT_ONCE_MS);
        }
        Map<TopicPartition, OffsetAndMetadata> durable = new HashMap<>();
        if (ingest != null) {
            offsets.keySet().forEach(partition -> {
                Long offset = ingest.durable().get(partition.partition());
                if (offset != null) {
                    durable.put(partition, new OffsetAndMetadata(offset));
                }
            });
        }
        return durable;
    }

    @Override
    public void stop() {
        abandon();
        try {
            if (servers != null) {
                servers.close();
            }
        } catch (IngestException error) {
            LOG.warn("The connection to HBase was not closed in order: {}", error.getMessage());
        }
    }

    /** Returns what stores messages; tests plant faults in it. */
    Ingest newIngest(ClickSinkConfig settings, Servers clients, RejectedShare shares, SinkMetrics counts)
            throws IngestException {
        return new Ingest(settings, clients, shares, counts, this::onStep);
    }

    /** Called after each step; tests end the worker there. */
    void onStep(Step step) {
        LOG.trace("Step {} is done", step);
    }

    /** Begins where the ledger is, with all partitions that the task has. */
    private void begin() throws IngestException {
        if (servers == null) {
            servers = Servers.open(config);
        }
        ingest = newIngest(config, servers, share, metrics);
        if (!assigned.isEmpty()) {
            seek(ingest.open(assigned));
        }
        checkpointNanos = System.nanoTime();
    }

    private void seek(Map<Integer, Long> starts) {
        starts.forEach((partition, offset) -> context.offset(new TopicPartition(config.topic(), partition), offset));
    }

    private void checkpoint() throws IngestException {
        if (ingest != null) {
            if (ingest.checkpoint()) {
                patience.succeeded();
            }
            checkpointNanos = System.nanoTime();
        }
    }

    /** Does something, and keeps its failure; the ingest that failed is given up. */
    private void attempt(Attempt attempt) {
        try {
            attempt.run();
        } catch (IngestException error) {
            abandon();
            if (error.isPassing() && patience.isLeft(config.getInt(ClickSinkConfig.RETRY_SECONDS))) {
                metrics.retry();
                LOG.warn("Beginning again where the offset ledger is, after: {}", error.getMessage());
            } else {
                failure = error.isPassing()
                        ? new PassingFailureException(error.getMessage(), error)
                        : new ConnectException(error.getMessage(), error);
            }
        } catch (ConnectException error) {
            abandon();
            failure = error;
        } catch (RuntimeException error) {
            abandon();
            failure = new ConnectException("The sink has a defect: " + error, error);
        }
    }

    private void abandon() {
        if (ingest != null) {
            try {
                ingest.close();
            } catch (IngestException error) {
                LOG.debug("A table was not closed in order", error);
            }
            ingest = null;
        }
    }

    /** Ends the task with a failure that it cannot get over. */
    private void throwIfPermanent() {
        if (failure != null) {
            throw failure;
        }
    }

    private void pause() {
        try {
            TimeUnit.MILLISECONDS.sleep(PAUSE_MS);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    /** Asks Connect for a checkpoint when it is due, and to come back in time when it is not yet. */
    private void askForCheckpoint() {
        if (ingest == null) {
            context.timeout(PAUSE_MS);
            return;
        }
        Window window = ingest.window();
        long sinceMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - checkpointNanos);
        long leftMs = config.getInt(ClickSinkConfig.INTERVAL_MS) - sinceMs;
        boolean full = window.seen() >= config.getInt(ClickSinkConfig.MAX_CLICKS)
                || window.rejectedBytes() >= config.getInt(ClickSinkConfig.MAX_REJECTED_BYTES);
        if (full || window.seen() > 0 && leftMs <= 0) {
            context.requestCommit();
        } else if (window.seen() > 0) {
            context.timeout(leftMs);
        }
    }

    private static Set<Integer> numbers(Collection<TopicPartition> partitions) {
        Set<Integer> numbers = new HashSet<>();
        partitions.forEach(partition -> numbers.add(partition.partition()));
        return numbers;
    }

    /** Something that may fail because a server is away, or for good. */
    @FunctionalInterface
    private interface Attempt {
        void run() throws IngestException;
    }
}
