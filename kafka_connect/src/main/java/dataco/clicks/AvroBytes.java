package dataco.clicks;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;

/** Reads values in Avro's binary encoding, one behind the other; the end of the bytes ends everything. */
final class AvroBytes {
    private static final char REPLACEMENT = '\uFFFD';
    private static final int DIGIT_BITS = 7;
    private static final int DIGIT = 0x7F;
    private static final int LAST_SHIFT = 63;
    private static final int UUID_BYTES = 16;
    private static final int[] UUID_HYPHENS = {8, 13, 18, 23};

    private final byte[] data;
    private final int start;
    private int at;

    AvroBytes(byte[] data, int start) {
        this.data = data;
        this.start = start;
        this.at = start;
    }

    /** A number in variable length, zigzag: at most 10 bytes and 64 bits. */
    long number() throws BrokenRuleException {
        long number = 0;
        for (int shift = 0; shift <= LAST_SHIFT; shift += DIGIT_BITS) {
            byte digit = one();
            if (shift == LAST_SHIFT && digit != 0 && digit != 1) {
                break;
            }
            number |= (long) (digit & DIGIT) << shift;
            if (digit >= 0) {
                return (number >>> 1) ^ -(number & 1);
            }
        }
        throw malformed("a number of more than 64 bits");
    }

    /** A number that must be one of so many. */
    int index(int count, String what) throws BrokenRuleException {
        long index = number();
        if (index < 0 || index >= count) {
            throw malformed("no " + what + " " + index + " of " + count);
        }
        return (int) index;
    }

    String text() throws BrokenRuleException {
        int size = size();
        String text = new String(data, at, size, StandardCharsets.UTF_8);
        // Decoding leniently first is several times as fast, and finds nearly all texts sound.
        if (text.indexOf(REPLACEMENT) >= 0
                && !Arrays.equals(text.getBytes(StandardCharsets.UTF_8), Arrays.copyOfRange(data, at, at + size))) {
            throw malformed("a text is not UTF-8");
        }
        at += size;
        return text;
    }

    String uuid() throws BrokenRuleException {
        int from = at;
        skip(UUID_BYTES);
        StringBuilder text = new StringBuilder(HexFormat.of().formatHex(data, from, at));
        for (int hyphen : UUID_HYPHENS) {
            text.insert(hyphen, '-');
        }
        return text.toString();
    }

    void skipBytes() throws BrokenRuleException {
        skip(size());
    }

    void skip(long size) throws BrokenRuleException {
        if (size > data.length - at) {
            throw malformed("the record goes on behind its " + (data.length - start) + " bytes");
        }
        at += (int) size;
    }

    void requireEnd() throws BrokenRuleException {
        if (at < data.length) {
            throw malformed((data.length - at) + " bytes behind the record");
        }
    }

    static BrokenRuleException malformed(String why) {
        return new BrokenRuleException(Reason.MALFORMED_AVRO, why);
    }

    /** A length, of which there are as many bytes. */
    private int size() throws BrokenRuleException {
        long size = number();
        if (size < 0) {
            throw malformed("a text or bytes of length " + size);
        }
        skip(size);
        at -= (int) size;
        return (int) size;
    }

    private byte one() throws BrokenRuleException {
        skip(1);
        return data[at - 1];
    }
}
