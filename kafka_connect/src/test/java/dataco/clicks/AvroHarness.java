package dataco.clicks;

import dataco.failures.IngestException;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Judges clicks in Avro on standard input, for the differential test of both codecs ({@code dataco_assets_tests/codecs}).
 *
 * <p>The input begins with the records' time and the start of the first partition (8 bytes each, epoch ms). Then come
 * groups: how many schemas the group's refers to, these, the schema, how many records, and each of them: value, header,
 * and a byte that says whether its schema is known. Numbers have 4 bytes; bytes have their length before them, -1 for
 * none. The answer to a record is that of {@link CodecHarness}, and then the readable user id with its length.
 */
public final class AvroHarness {
    private AvroHarness() {}

    /** Judges until standard input ends. */
    public static void main(String[] arguments) throws IOException, IngestException {
        try (DataInputStream input = new DataInputStream(new BufferedInputStream(System.in));
                DataOutputStream answers = new DataOutputStream(new BufferedOutputStream(System.out))) {
            long recordTimeMs = input.readLong();
            long earliestMs = input.readLong();
            while (true) {
                int references;
                try {
                    references = input.readInt();
                } catch (EOFException end) {
                    return;
                }
                List<String> texts = new ArrayList<>();
                for (int i = 0; i < references; i++) {
                    texts.add(new String(CodecHarness.read(input), StandardCharsets.UTF_8));
                }
                String text = new String(CodecHarness.read(input), StandardCharsets.UTF_8);
                judge(input, answers, new WriterSchema(text, texts, WriterSchema.AVRO), recordTimeMs, earliestMs);
            }
        }
    }

    private static void judge(
            DataInputStream input, DataOutputStream answers, WriterSchema schema, long recordTimeMs, long earliestMs)
            throws IOException, IngestException {
        RecordParser knowing = new RecordParser(reference -> Optional.of(schema));
        RecordParser ignorant = new RecordParser(reference -> Optional.empty());
        for (int left = input.readInt(); left > 0; left--) {
            byte[] value = CodecHarness.read(input);
            byte[] header = CodecHarness.read(input);
            RecordParser parser = input.readBoolean() ? knowing : ignorant;
            CodecHarness.write(answers, CodecHarness.answer(parser.parse(value, header, recordTimeMs, earliestMs)));
            CodecHarness.write(
                    answers,
                    parser.userId(value, header)
                            .map(id -> id.getBytes(StandardCharsets.UTF_8))
                            .orElse(null));
        }
    }
}
