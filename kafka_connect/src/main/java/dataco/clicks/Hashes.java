package dataco.clicks;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import org.bouncycastle.crypto.digests.Blake2bDigest;

/** The hashes of clicks and users. Those of a click are BLAKE2b-128 of the UTF-8 of texts joined with U+001F. */
public final class Hashes {
    private static final int BITS = 128;

    /** A control character, which no field of a click can hold: no two lists of texts join to the same one. */
    private static final String SEPARATOR = "\u001f";

    private static final int ERASED_USER_BYTES = 32;
    private static final byte[] PERSON = Arrays.copyOf("dataco-erased".getBytes(StandardCharsets.US_ASCII), 16);

    private Hashes() {}

    /** Returns the event id of a click that was sent without one. */
    static String derivedEventId(String userId, long timestamp, String url, String ipAddress, String userAgent) {
        return hexOf(userId, Long.toString(timestamp), url, ipAddress, userAgent);
    }

    /** Returns 32 lower-case hex digits. */
    static String hexOf(String... texts) {
        return hexOf(String.join(SEPARATOR, texts).getBytes(StandardCharsets.UTF_8));
    }

    /** Returns BLAKE2b-128 of a message's value as 32 lower-case hex digits: rejected by reference, it is known by it. */
    public static String hexOf(byte[] bytes) {
        return hexOf(new Blake2bDigest(BITS), bytes);
    }

    /** Returns the row key of an erased user in the suppression list, 64 lower-case hex digits. */
    public static String erasedUser(String userId) {
        // The person makes these hashes different from those of anybody else.
        return hexOf(
                new Blake2bDigest(null, ERASED_USER_BYTES, null, PERSON.clone()),
                userId.getBytes(StandardCharsets.UTF_8));
    }

    private static String hexOf(Blake2bDigest digest, byte[] bytes) {
        digest.update(bytes, 0, bytes.length);
        byte[] hash = new byte[digest.getDigestSize()];
        digest.doFinal(hash, 0);
        return HexFormat.of().formatHex(hash);
    }
}
