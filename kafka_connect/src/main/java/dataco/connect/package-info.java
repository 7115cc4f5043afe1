/** The sink for Kafka Connect: from the clicks topic to HBase. */
package dataco.connect;
