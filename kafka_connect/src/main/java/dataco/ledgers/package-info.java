/** The ledgers in HBase, which the drain and this sink share: offsets and their owner, hours, erased users. */
package dataco.ledgers;
