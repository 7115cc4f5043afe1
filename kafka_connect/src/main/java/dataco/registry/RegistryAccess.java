package dataco.registry;

import java.nio.charset.StandardCharsets;
import java.util.Base64;

/**
 * How a schema registry is reached.
 *
 * @param url its address, with the path of the API where it has one
 * @param username user name; empty: none
 * @param password that user's
 * @param token bearer token, in place of a user; empty: none
 * @param caFile PEM file of the authority that signed its certificate; empty: those that Java knows
 */
public record RegistryAccess(String url, String username, String password, String token, String caFile) {
    /** Removes slashes at the end of the address. */
    public RegistryAccess {
        url = url.replaceAll("/+$", "");
    }

    /** Returns the value of the header {@code Authorization}; empty for none. */
    String authorization() {
        if (!username.isEmpty()) {
            byte[] both = (username + ":" + password).getBytes(StandardCharsets.UTF_8);
            return "Basic " + Base64.getEncoder().encodeToString(both);
        }
        return token.isEmpty() ? "" : "Bearer " + token;
    }

    /** Leaves the secrets out. */
    @Override
    public String toString() {
        return "RegistryAccess[" + url + "]";
    }
}
