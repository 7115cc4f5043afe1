package dataco.live;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Writes numbers and texts as few bytes: small numbers, below 0 or above, take one. {@link ByteReader} reads them. */
final class ByteWriter {
    private static final int AT_FIRST = 64;
    private static final int LONGEST_NUMBER = 10;
    private static final int SEVEN_BITS = 0x7f;
    private static final int MORE = 0x80;

    private byte[] buffer = new byte[AT_FIRST];
    private int length;

    /** Writes a number, 7 bits a byte, lowest first; its sign is the lowest bit. */
    ByteWriter number(long value) {
        makeRoom(LONGEST_NUMBER);
        long left = value << 1 ^ value >> Long.SIZE - 1;
        while ((left & ~SEVEN_BITS) != 0) {
            buffer[length++] = (byte) (left & SEVEN_BITS | MORE);
            left >>>= 7;
        }
        buffer[length++] = (byte) left;
        return this;
    }

    /** Writes all bits of a number. */
    ByteWriter eightBytes(long value) {
        makeRoom(Long.BYTES);
        for (int shift = Long.SIZE - Byte.SIZE; shift >= 0; shift -= Byte.SIZE) {
            buffer[length++] = (byte) (value >>> shift);
        }
        return this;
    }

    /** Writes a text behind its length. */
    ByteWriter text(String text) {
        byte[] encoded = text.getBytes(StandardCharsets.UTF_8);
        number(encoded.length);
        makeRoom(encoded.length);
        System.arraycopy(encoded, 0, buffer, length, encoded.length);
        length += encoded.length;
        return this;
    }

    /** Returns what was written. */
    byte[] bytes() {
        return Arrays.copyOf(buffer, length);
    }

    private void makeRoom(int more) {
        if (buffer.length - length < more) {
            buffer = Arrays.copyOf(buffer, Math.max(2 * buffer.length, length + more));
        }
    }
}
