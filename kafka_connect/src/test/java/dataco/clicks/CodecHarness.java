package dataco.clicks;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;

/**
 * Judges the records on standard input, for the differential test of both codecs ({@code dataco_assets_tests/codecs}).
 *
 * <p>A record is its time and the start of the first partition (8 bytes each, epoch ms), the length of its payload (4
 * bytes, -1 for a tombstone) and the payload. The answer is a length (4 bytes) and either {@code C}, the row key and
 * each cell with its length before it, or {@code R}, the reason, NUL and the detail.
 */
public final class CodecHarness {
    private CodecHarness() {}

    /** Judges until standard input ends. */
    public static void main(String[] arguments) throws IOException {
        try (DataInputStream records = new DataInputStream(new BufferedInputStream(System.in));
                DataOutputStream answers = new DataOutputStream(new BufferedOutputStream(System.out))) {
            while (true) {
                long recordTimeMs;
                try {
                    recordTimeMs = records.readLong();
                } catch (EOFException end) {
                    return;
                }
                long earliestMs = records.readLong();
                write(answers, answer(ClickParser.parse(read(records), recordTimeMs, earliestMs)));
            }
        }
    }

    /** Reads bytes behind their length; null for the length -1. */
    static byte[] read(DataInputStream input) throws IOException {
        int length = input.readInt();
        return length < 0 ? null : input.readNBytes(length);
    }

    /** Writes bytes behind their length; -1 for null. */
    static void write(DataOutputStream output, byte[] bytes) throws IOException {
        output.writeInt(bytes == null ? -1 : bytes.length);
        output.write(bytes == null ? new byte[0] : bytes);
    }

    static byte[] answer(Verdict verdict) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream answer = new DataOutputStream(bytes);
        if (verdict instanceof Click click) {
            answer.writeByte('C');
            answer.write(RowKey.of(click));
            for (Column column : Column.values()) {
                byte[] cell = column.cell(click);
                answer.writeInt(cell.length);
                answer.write(cell);
            }
        } else if (verdict instanceof Rejection rejection) {
            answer.writeByte('R');
            String text = rejection.reason().code() + "\0" + rejection.detail();
            answer.write(text.getBytes(StandardCharsets.UTF_8));
        }
        return bytes.toByteArray();
    }
}
