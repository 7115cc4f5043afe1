package dataco.clicks;

import java.nio.charset.StandardCharsets;
import java.util.zip.CRC32;

/**
 * The row key of a click, 49 bytes of ASCII: {@code SS-TTTTTTTTTTTTT-HHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHH}.
 *
 * <p>{@code SS} is the salt, crc32(user id) % 16 as two hex digits; {@code T} the time in epoch ms; {@code H}
 * BLAKE2b-128 of user id, U+001F and event id, so that the same event of a user is the same row.
 */
public final class RowKey {
    /** Number of salts of a table. */
    public static final int SALTS = 16;

    private static final int TIME_START = 3;
    private static final int TIME_END = 16;
    private static final long FOURTEEN_DIGITS = 10_000_000_000_000L;

    private RowKey() {}

    /** Returns the row key of a click. */
    public static byte[] of(Click click) {
        String time = Long.toString(FOURTEEN_DIGITS + click.timestamp()).substring(1);
        String key =
                saltDigits(salt(click.userId())) + "-" + time + "-" + Hashes.hexOf(click.userId(), click.eventId());
        return key.getBytes(StandardCharsets.US_ASCII);
    }

    /** Returns the time in a row key, epoch ms. */
    public static long timestampOf(String key) {
        return Long.parseLong(key.substring(TIME_START, TIME_END));
    }

    /** Returns a salt, 0 to {@link #SALTS} - 1, as it begins a key: two hex digits. */
    public static String saltDigits(int salt) {
        return "0" + Integer.toHexString(salt);
    }

    private static int salt(String userId) {
        CRC32 checksum = new CRC32();
        checksum.update(userId.getBytes(StandardCharsets.UTF_8));
        return (int) (checksum.getValue() % SALTS);
    }
}
