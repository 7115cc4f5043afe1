/** Where the schemas of clicks in Avro are: in a schema registry, in a folder, and in the contract itself. */
package dataco.registry;
