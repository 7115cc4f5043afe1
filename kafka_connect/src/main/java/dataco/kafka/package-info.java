/** The clicks topic as its brokers describe it, and the rejected topic. */
package dataco.kafka;
