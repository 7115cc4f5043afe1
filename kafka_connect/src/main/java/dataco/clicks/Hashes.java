package dataco.clicks;

import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.bouncycastle.crypto.digests.Blake2bDigest;

/** The hashes of a click, each BLAKE2b-128 of the UTF-8 of texts that are joined with U+001F. */
final class Hashes {
    private static final int BITS = 128;

    /** A control character, which no field of a click can hold: no two lists of texts join to the same one. */
    private static final String SEPARATOR = "\u001f";

    private Hashes() {}

    /** Returns the event id of a click that was sent without one. */
    static String derivedEventId(String userId, long timestamp, String url, String ipAddress, String userAgent) {
        return hexOf(userId, Long.toString(timestamp), url, ipAddress, userAgent);
    }

    /** Returns 32 lower-case hex digits. */
    static String hexOf(String... texts) {
        byte[] bytes = String.join(SEPARATOR, texts).getBytes(StandardCharsets.UTF_8);
        Blake2bDigest digest = new Blake2bDigest(BITS);
        digest.update(bytes, 0, bytes.length);
        byte[] hash = new byte[digest.getDigestSize()];
        digest.doFinal(hash, 0);
        return HexFormat.of().formatHex(hash);
    }
}
