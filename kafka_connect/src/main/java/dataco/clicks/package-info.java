/**
 * The click: decodes the bytes of a Kafka record into a click or the reason why it is none, and makes its HBase row.
 *
 * <p>The contract is in {@code docs/clicks.md}. It is implemented twice, here and in Python
 * ({@code dataco_assets/clicks}); both must give every payload the same verdict and every click the same bytes. Pure:
 * nothing here talks to a server.
 */
package dataco.clicks;
