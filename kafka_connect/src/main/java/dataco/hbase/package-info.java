/** The clicks table in HBase: what it must be like, and clicks written to it with HBase's own client. */
package dataco.hbase;
