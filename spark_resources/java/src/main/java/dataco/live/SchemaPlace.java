package dataco.live;

import java.io.Serializable;

/**
 * Where the schemas of clicks in Avro are found.
 *
 * @param registryUrl address of the schema registry; empty: none
 * @param username user name for it; empty: none
 * @param password that user's
 * @param token bearer token, in place of a user; empty: none
 * @param caFile PEM file of the authority that signed its certificate; empty: those that Java knows
 * @param folder folder of {@code .avsc} files; empty: only the contract's own
 * @param retrySeconds how long a registry that does not answer is asked again
 */
public record SchemaPlace(
        String registryUrl,
        String username,
        String password,
        String token,
        String caFile,
        String folder,
        double retrySeconds)
        implements Serializable {
    /** Leaves the secrets out. */
    @Override
    public String toString() {
        return "SchemaPlace[" + registryUrl + ", " + folder + "]";
    }
}
