package dataco.connect;

/**
 * Where a message is.
 *
 * @param partition its partition
 * @param offset its offset there
 */
record Place(int partition, long offset) {}
