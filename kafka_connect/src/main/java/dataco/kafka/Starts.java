package dataco.kafka;

import dataco.ledgers.Position;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * Decides where partitions are read from, and what counts as lost; the rules of the drain ({@code ingest/plan.py}).
 *
 * @param topic the topic as it is now
 * @param ledger the positions of the offset ledger
 * @param committed offsets of the drain's group, which count for partitions that the ledger does not know
 */
public record Starts(TopicState topic, Map<Integer, Position> ledger, Map<Integer, Long> committed) {
    /**
     * Returns the first offset to read of each partition.
     *
     * @param logs what the partitions' logs hold
     * @throws DataLostException something is lost; names each partition with its offsets
     */
    public Map<Integer, Long> of(Map<Integer, LogRange> logs) throws DataLostException {
        List<String> losses = new ArrayList<>();
        new TreeMap<>(ledger).forEach((partition, position) -> {
            if (!topic.partitions().contains(partition)) {
                losses.add("partition " + partition + ": the ledger is at offset " + position.nextOffset()
                        + ", but the partition is gone");
            }
        });
        Map<Integer, Long> starts = new TreeMap<>();
        new TreeMap<>(logs).forEach((partition, log) -> {
            Optional<Position> position = position(partition);
            loss(position, log).ifPresent(why -> losses.add("partition " + partition + ": " + why));
            starts.put(partition, position.map(Position::nextOffset).orElse(log.earliest()));
        });
        if (!losses.isEmpty()) {
            throw DataLostException.of(topic.name(), losses);
        }
        return starts;
    }

    private Optional<Position> position(int partition) {
        if (ledger.containsKey(partition)) {
            return Optional.of(ledger.get(partition));
        }
        return Optional.ofNullable(committed.get(partition)).map(offset -> new Position(topic.id(), offset));
    }

    private Optional<String> loss(Optional<Position> position, LogRange log) {
        if (position.isEmpty()) {
            return Optional.empty();
        }
        long start = position.get().nextOffset();
        String id = position.get().topicId();
        if (!id.equals(topic.id())) {
            return Optional.of("the topic was deleted and created again (id " + id + " is now " + topic.id()
                    + "): what came after offset " + start + " of the old one is lost");
        }
        if (start < log.earliest()) {
            return Optional.of(removedByRetention(start, log.earliest()));
        }
        if (start > log.highWatermark()) {
            return Optional.of(cutBack(log.highWatermark(), start));
        }
        return Optional.empty();
    }

    /** Says that offsets [start, end) are gone. */
    public static String removedByRetention(long start, long end) {
        return "offsets [" + start + ", " + end + ") were removed by retention before they were read";
    }

    /** Says that a log ends before an offset up to which it was read. */
    public static String cutBack(long end, long start) {
        return "the log was cut back: it ends at offset " + end + ", but was read up to offset " + start;
    }
}
