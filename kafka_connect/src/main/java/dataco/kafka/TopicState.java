package dataco.kafka;

import java.util.Set;

/**
 * A topic as it is now.
 *
 * @param name its name
 * @param id its id; one that was deleted and created again has another
 * @param partitions numbers of its partitions
 */
public record TopicState(String name, String id, Set<Integer> partitions) {
    /** Copies the partitions. */
    public TopicState {
        partitions = Set.copyOf(partitions);
    }
}
