/**
 * Live's work on Spark's executors: decodes clicks, keeps each user's recent ones, and computes what a micro-batch adds
 * to the sums of each group.
 *
 * <p>{@code spark_resources/live/application.py} builds the query and calls {@link dataco.live.Pipeline}. What is
 * computed, and why differences of single users add up, is in {@code docs/live.md}.
 */
package dataco.live;
