package dataco.clicks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dataco.failures.IngestException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The vectors of clicks in Avro, which the Python codec passes as well. */
class AvroVectorsTest {
    private static final JsonNode FILE = file();
    private static final Duration SOON = Duration.ofSeconds(5);

    private final List<String> asked = new ArrayList<>();
    private final RecordParser parser = new RecordParser(this::schema);

    static Stream<VectorsTest.Vector> vectors() {
        List<VectorsTest.Vector> vectors = new ArrayList<>();
        FILE.get("vectors")
                .forEach(node ->
                        vectors.add(new VectorsTest.Vector(node.get("name").asText(), node)));
        assertTrue(vectors.size() >= 107, "vectors are missing");
        return vectors.stream();
    }

    @ParameterizedTest
    @MethodSource("vectors")
    void vector(VectorsTest.Vector vector) throws IngestException {
        JsonNode node = vector.node();
        Verdict verdict = assertTimeoutPreemptively(SOON, () -> parsed(node));
        if (node.has("json")) { // the same click in JSON: the same row, the same derived id, the same reason
            byte[] json = node.get("json").asText().getBytes(StandardCharsets.UTF_8);
            Verdict same = ClickParser.parse(json, time(node, "record_time_ms"), time(node, "earliest_ms"));
            assertEquals(withoutDetail(same), withoutDetail(verdict));
        }
        if (node.has("reject")) {
            Rejection rejection = assertInstanceOf(Rejection.class, verdict);
            assertEquals(
                    node.get("reject").get("reason").asText(),
                    rejection.reason().code(),
                    rejection.detail());
            assertTrue(rejection.detail().matches("[ -~]{1,200}"), rejection.detail());
        } else {
            assertInstanceOf(Click.class, verdict, verdict::toString);
            assertTrue(node.has("json"));
        }
    }

    @Test
    void eachSchemaIsAskedForOnceAlsoOneThatDoesNotExist() throws IngestException {
        for (int i = 0; i < 2; i++) {
            for (VectorsTest.Vector vector : vectors().toList()) {
                parsed(vector.node());
            }
        }
        assertEquals(asked.size(), new HashSet<>(asked).size());
        assertTrue(asked.size() > FILE.get("schemas").size());
        int before = asked.size();
        parser.forgetUnknown();
        for (VectorsTest.Vector vector : vectors().toList()) {
            parsed(vector.node());
        }
        assertEquals(3, asked.size() - before, "an id, a GUID and a fingerprint that no schema has");
    }

    @Test
    void theLastThousandSchemasAreKept() throws IngestException {
        for (int id = 5_000; id < 6_000; id++) {
            parser.parse(named(id), null, 0, 0);
        }
        parser.parse(named(5_000), null, 0, 0);
        parser.parse(named(6_000), null, 0, 0);
        assertEquals(1_001, asked.size());
        parser.parse(named(5_000), null, 0, 0);
        assertEquals(1_001, asked.size(), "it was used lately");
        parser.parse(named(5_001), null, 0, 0);
        assertEquals(1_002, asked.size());
    }

    /** A record that begins with the id of a schema. */
    private static byte[] named(int id) {
        return ByteBuffer.allocate(5).putInt(1, id).array();
    }

    @Test
    void anyDamageIsARejectionAndNeverAnError() throws IngestException {
        for (VectorsTest.Vector vector : vectors().toList()) {
            byte[] value = value(vector.node());
            if (value == null || value.length > 1_000) {
                continue;
            }
            for (int cut = 0; cut < value.length; cut++) {
                byte[] other = value.clone();
                other[cut] = (byte) 0xFF;
                for (byte[] damaged : List.of(Arrays.copyOf(value, cut), other)) {
                    parser.parse(damaged, header(vector.node()), 0, 0);
                    parser.userId(damaged, header(vector.node()));
                }
            }
        }
    }

    private Verdict parsed(JsonNode node) throws IngestException {
        return parser.parse(value(node), header(node), time(node, "record_time_ms"), time(node, "earliest_ms"));
    }

    private Optional<WriterSchema> schema(SchemaReference reference) {
        asked.add(reference.toString());
        String list = switch (reference.by()) {
            case ID -> "ids";
            case GUID -> "guids";
            case FINGERPRINT -> "fingerprints";
        };
        return Optional.ofNullable(FILE.get(list).get(reference.value()))
                .map(name -> FILE.get("schemas").get(name.asText()))
                .map(schema -> new WriterSchema(schema.toString()));
    }

    private static Object withoutDetail(Verdict verdict) {
        return verdict instanceof Rejection rejection ? rejection.reason() : verdict;
    }

    private static long time(JsonNode node, String name) {
        return node.get(name).asLong();
    }

    private static byte[] header(JsonNode node) {
        return node.has("header_hex")
                ? HexFormat.of().parseHex(node.get("header_hex").asText())
                : null;
    }

    private static byte[] value(JsonNode node) {
        JsonNode value = node.get("value_hex");
        return value.isNull() ? null : HexFormat.of().parseHex(VectorsTest.text(value));
    }

    private static JsonNode file() {
        try {
            return new ObjectMapper()
                    .readTree(Path.of("..", "dataco_assets_tests", "vectors", "avro.json")
                            .toFile());
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
