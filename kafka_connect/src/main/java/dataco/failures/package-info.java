/** What every failure of the sink says: whether time may end it, or only a person can. */
package dataco.failures;
