package dataco.ledgers;

/**
 * Where the platform stands in a partition.
 *
 * @param topicId id of the topic; one that was deleted and created again has another
 * @param nextOffset next offset to read
 */
public record Position(String topicId, long nextOffset) {}
