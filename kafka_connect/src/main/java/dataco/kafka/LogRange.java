package dataco.kafka;

/**
 * What a partition's log holds.
 *
 * @param earliest first offset still kept
 * @param highWatermark end of the replicated log, open transactions included
 */
public record LogRange(long earliest, long highWatermark) {}
