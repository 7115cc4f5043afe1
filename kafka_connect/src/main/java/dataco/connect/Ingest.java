package dataco.connect;

import dataco.clicks.Click;
import dataco.clicks.Reason;
import dataco.clicks.RecordParser;
import dataco.clicks.Rejection;
import dataco.clicks.RowKey;
import dataco.clicks.Verdict;
import dataco.failures.IngestException;
import dataco.hbase.ClickWriter;
import dataco.hbase.ClicksTableRules;
import dataco.hbase.RefusedClick;
import dataco.hbase.StoredRows;
import dataco.kafka.DataLostException;
import dataco.kafka.LogRange;
import dataco.kafka.RejectedClick;
import dataco.kafka.Starts;
import dataco.kafka.TopicState;
import dataco.ledgers.Cause;
import dataco.ledgers.ErasedUsers;
import dataco.ledgers.Mode;
import dataco.ledgers.Owner;
import dataco.ledgers.PassedOffsets;
import dataco.ledgers.Position;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedSet;
import java.util.function.Consumer;

/**
 * Stores messages, and makes checkpoints in the order on which exactly-once rests. It knows nothing of Connect.
 *
 * <p>A checkpoint makes each step durable before the next, as the drain does ({@code dataco_assets/ingest/drain.py}): rows,
 * those of erased users deleted, rejected records acknowledged, hours marked dirty, offset ledger. Whoever is stopped
 * between two steps repeats them: rows overwrite themselves, rejected records keep their key, some hours are computed
 * once more. After any failure this object is of no use; another begins where the ledger is. For one thread.
 */
class Ingest implements AutoCloseable {
    private static final int ROWS_AT_ONCE = 1_000;

    private final ClickSinkConfig config;
    private final String topic;
    private final long earliestMs;
    private final Servers servers;
    private final RecordParser parser;
    private final RejectedShare share;
    private final SinkMetrics metrics;
    private final Consumer<Step> onStep;
    private final ClickWriter<Message> writer;
    private final Map<Integer, Long> positions = new HashMap<>();
    private final Map<Integer, Long> durable = new HashMap<>();
    private final Owner owner;
    private TopicState state;
    private final long rejectedLimitBytes;
    private ErasedUsers erased;
    private Window window = new Window(0, Map.of());

    Ingest(ClickSinkConfig config, Servers servers, RejectedShare share, SinkMetrics metrics, Consumer<Step> onStep)
            throws IngestException {
        this.config = config;
        this.topic = config.topic();
        this.earliestMs = config.earliestMs();
        this.servers = servers;
        this.parser = servers.parser();
        this.share = share;
        this.metrics = metrics;
        this.onStep = onStep;
        ClicksTableRules.require(servers.hbase(), config.clicksTable(), config.getInt(ClickSinkConfig.TTL_DAYS));
        this.state = servers.topics().state(topic);
        this.rejectedLimitBytes = servers.topics().messageLimitBytes(config.getString(ClickSinkConfig.REJECTED_TOPIC));
        this.owner = servers.offsets().requireOwner(topic, Mode.CONNECT);
        this.erased = servers.suppression().read();
        this.writer = new ClickWriter<>(servers.hbase(), config.clicksTable());
    }

    /** Claims partitions and returns where each is to be read from. */
    Map<Integer, Long> open(Collection<Integer> partitions) throws IngestException {
        TopicState now = servers.topics().state(topic);
        for (int partition : partitions) {
            servers.offsets().claim(topic, partition, owner);
        }
        Map<Integer, Position> ledger = servers.offsets().read(topic);
        Map<Integer, Long> committed = ledger.keySet().containsAll(partitions)
                ? Map.of()
                : servers.topics().committed(config.getString(ClickSinkConfig.START_GROUP), topic);
        Map<Integer, LogRange> logs = servers.topics().logs(topic, partitions);
        Map<Integer, Long> starts = new Starts(now, ledger, committed).of(logs);
        if (!positions.isEmpty()) {
            refuseOtherTopic(now);
        }
        state = now;
        positions.putAll(starts);
        durable.putAll(starts);
        window.starts().putAll(starts);
        onStep.accept(Step.OPENED);
        return starts;
    }

    /** Gives up partitions; what was read of them and is not durable will be read again by whoever gets them. */
    void release(Collection<Integer> partitions) {
        positions.keySet().removeAll(partitions);
        durable.keySet().removeAll(partitions);
        window.starts().keySet().removeAll(partitions);
    }

    /** Stores or rejects messages, in the order of their offsets; what is stored is durable after a checkpoint. */
    void take(Collection<Message> messages) throws IngestException {
        refuseLoss(messages);
        if (window.seen() == 0) {
            window = newWindow();
        }
        for (Message message : messages) {
            if (positions.containsKey(message.partition())) {
                window.skipped(message.partition(), positions.get(message.partition()), message.offset());
                take(message);
                window.arrived(message.arrivedMs());
                positions.put(message.partition(), message.offset() + 1);
            }
        }
    }

    /** Makes all messages durable that were taken, and moves the ledger behind them; false when there were none. */
    boolean checkpoint() throws IngestException {
        if (window.seen() == 0) {
            return false;
        }
        onStep.accept(Step.CHECKPOINT_BEGUN);
        storeRows();
        onStep.accept(Step.ROWS_STORED);
        dropErased();
        checkShare();
        sendRejected();
        onStep.accept(Step.REJECTED_ACKNOWLEDGED);
        markHours();
        onStep.accept(Step.HOURS_MARKED);
        moveOffsets();
        onStep.accept(Step.OFFSETS_MOVED);
        metrics.checkpoint(window);
        share.note(window.seen(), window.rejected().size());
        durable.putAll(positions);
        window = new Window(0, positions);
        parser.forgetUnknown();
        return true;
    }

    /** Offsets behind messages that are durable, in the ledger, too; by partition. */
    Map<Integer, Long> durable() {
        return durable;
    }

    Window window() {
        return window;
    }

    @Override
    public void close() throws IngestException {
        writer.close();
    }

    private Window newWindow() throws IngestException {
        // By HBase's clock, which decides what has expired; this machine's may be wrong.
        return new Window(servers.hours().serverTimeMs(), positions);
    }

    /**
     * Notices offsets that Connect's consumer jumped over, or back, because they were gone: it does so silently. Other gaps
     * are left by transactions and by compaction, so what decides is where the log begins.
     */
    private void refuseLoss(Collection<Message> messages) throws IngestException {
        Map<Integer, Long> expected = new HashMap<>(positions);
        Map<Integer, Long> gaps = new HashMap<>();
        List<String> losses = new ArrayList<>();
        for (Message message : messages) {
            Long next = expected.put(message.partition(), message.offset() + 1);
            if (next != null && message.offset() > next) {
                gaps.putIfAbsent(message.partition(), next);
            } else if (next != null && message.offset() < next) {
                losses.add("partition " + message.partition() + ": " + Starts.cutBack(message.offset(), next));
            }
        }
        if (!gaps.isEmpty()) {
            Map<Integer, Long> earliest = servers.topics().earliest(topic, gaps.keySet());
            gaps.forEach((partition, start) -> {
                if (earliest.get(partition) > start) {
                    String why = Starts.removedByRetention(start, earliest.get(partition));
                    losses.add("partition " + partition + ": " + why);
                }
            });
        }
        if (!losses.isEmpty()) {
            refuseOtherTopic(servers.topics().state(topic)); // its offsets begin anew, which looks like a log cut back
            throw DataLostException.of(topic, losses);
        }
    }

    private void take(Message message) throws IngestException {
        Verdict verdict = parsed(message);
        if (verdict instanceof Click click) {
            long timeMs = Math.min(click.timestamp(), message.arrivedMs());
            if (erased.isSuppressed(click.userId(), timeMs)) {
                window.suppress(message.place(), new String(RowKey.of(click), StandardCharsets.US_ASCII));
                return;
            }
            byte[] row = writer.add(click, message, message.size());
            window.store(message.place(), row, click.userId(), timeMs, message.isReplayed());
            return;
        }
        RejectedClick rejected = message.rejected(topic, (Rejection) verdict);
        if (isSuppressed(rejected, message.arrivedMs(), erased)) {
            window.suppress(message.place()); // not even rejected, since that would keep it
        } else {
            window.reject(rejected);
        }
    }

    private Verdict parsed(Message message) throws IngestException {
        return parser.parse(message.value(), message.schemaHeader(), message.arrivedMs(), earliestMs);
    }

    /** Whether a message that is no valid click is of an erased user. */
    private boolean isSuppressed(RejectedClick click, long timeMs, ErasedUsers users) throws IngestException {
        if (users.isEmpty()) {
            return false;
        }
        Optional<String> user = parser.userId(click.value(), Message.schemaHeader(click.headers()));
        return users.isSuppressed(user, click.key(), timeMs);
    }

    void storeRows() throws IngestException {
        for (RefusedClick<Message> refused : writer.flush()) {
            window.takeBack(refused.origin().rejected(topic, new Rejection(Reason.REFUSED_BY_STORE, refused.why())));
        }
    }

    /**
     * Drops what belongs to users who were erased since the list was read.
     *
     * <p>An erasure first puts the user on the list, then looks for rows. So what is durable before the list is read here
     * is found by the erasure, or the list read here names the user. In that case the rows are deleted here: a task that
     * was stalled may be the only one that stores them, because others have read the list since and dropped these clicks.
     */
    private void dropErased() throws IngestException {
        ErasedUsers now = servers.suppression().read();
        ErasedUsers added = now.since(erased);
        erased = now;
        if (!added.isEmpty()) {
            window.dropErased(added);
        }
        List<RejectedClick> kept = new ArrayList<>();
        for (RejectedClick click : window.rejected()) {
            if (!isSuppressed(click, click.recordTimeMs(), added)) {
                kept.add(click);
            }
        }
        window.keepRejected(kept);
        List<String> keys = window.suppressedRows();
        for (int start = 0; start < keys.size(); start += ROWS_AT_ONCE) {
            delete(keys.subList(start, Math.min(start + ROWS_AT_ONCE, keys.size())));
        }
    }

    /** Deletes those of the rows that are stored; their hours are marked before, and once more at the end. */
    private void delete(List<String> keys) throws IngestException {
        Map<String, Long> stored = StoredRows.find(servers.hbase(), config.clicksTable(), keys);
        if (!stored.isEmpty()) {
            Set<Long> times = new HashSet<>();
            stored.keySet().forEach(key -> times.add(RowKey.timestampOf(key)));
            SortedSet<Long> hours = servers.hours().touchedBy(times, earliestMs);
            servers.hours().noteCause(hours, Cause.ERASURE);
            servers.hours().markDirty(hours, Set.of(), window.startedAtMs());
            StoredRows.delete(servers.hbase(), config.clicksTable(), stored);
            window.removed().addAll(times);
        }
    }

    /** The valid clicks are stored when too many of the others are rejected, so their hours are marked; offsets stay. */
    private void checkShare() throws IngestException {
        try {
            share.check(window.seen(), window.rejected());
        } catch (TooManyRejectedException tooMany) {
            markHours();
            throw tooMany;
        }
    }

    private void markHours() throws IngestException {
        Set<Long> changed = window.times();
        changed.addAll(window.removed());
        SortedSet<Long> hours = servers.hours().touchedBy(changed, earliestMs);
        Set<Long> replayed = window.replayedHours();
        replayed.retainAll(hours);
        servers.hours().noteCause(replayed, Cause.REPLAY);
        servers.hours().markDirty(hours, window.times(), window.startedAtMs());
    }

    void sendRejected() throws IngestException {
        servers.rejected().write(window.rejected(), rejectedLimitBytes);
    }

    void moveOffsets() throws IngestException {
        refuseOtherTopic(servers.topics().state(topic));
        for (PassedOffsets passed : window.passed(positions)) {
            servers.offsets().advance(topic, state.id(), passed, owner, window.startedAtMs());
        }
    }

    private void refuseOtherTopic(TopicState now) throws DataLostException {
        if (!now.id().equals(state.id())) {
            throw DataLostException.of(
                    topic,
                    List.of("the topic was deleted and created again while it was read (id " + state.id() + " is now "
                            + now.id() + ")"));
        }
    }
}
