package dataco.live;

/**
 * A group in an hour: what a document of the index is about.
 *
 * @param hour start of the hour, epoch ms
 * @param group page and country
 */
record HourGroup(long hour, Group group) {}
