package dataco.clicks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The contract as data, which the Python codec passes as well. */
class VectorsTest {
    private static final Path VECTORS = Path.of("..", "dataco_assets_tests", "vectors", "clicks.json");

    static Stream<Vector> vectors() throws IOException {
        List<Vector> vectors = new ArrayList<>();
        new ObjectMapper()
                .readTree(VECTORS.toFile())
                .forEach(node -> vectors.add(new Vector(node.get("name").asText(), node)));
        assertTrue(vectors.size() > 300, "vectors are missing");
        return vectors.stream();
    }

    @ParameterizedTest
    @MethodSource("vectors")
    void vector(Vector vector) throws IOException {
        JsonNode node = vector.node();
        Verdict verdict = ClickParser.parse(
                payload(node),
                node.get("record_time_ms").asLong(),
                node.get("earliest_ms").asLong());
        if (node.has("reject")) {
            Rejection rejection = assertInstanceOf(Rejection.class, verdict);
            assertEquals(
                    node.get("reject").get("reason").asText(),
                    rejection.reason().code());
            assertTrue(rejection.detail().matches("[ -~]{1,200}"), rejection.detail());
        } else {
            Click click = assertInstanceOf(Click.class, verdict, verdict::toString);
            JsonNode expected = node.get("expect");
            assertEquals(expected.get("row_key").asText(), new String(RowKey.of(click), StandardCharsets.US_ASCII));
            Map<String, String> cells = new LinkedHashMap<>();
            expected.get("cells").properties().forEach(cell -> cells.put(cell.getKey(), text(cell.getValue())));
            assertEquals(
                    List.copyOf(cells.entrySet()), List.copyOf(cellsOf(click).entrySet()));
        }
    }

    private static Map<String, String> cellsOf(Click click) {
        Map<String, String> cells = new LinkedHashMap<>();
        for (Column column : Column.values()) {
            String value = new String(column.cell(click), StandardCharsets.UTF_8);
            cells.put(column.family() + ":" + column.qualifier(), value);
        }
        return cells;
    }

    private static byte[] payload(JsonNode node) throws IOException {
        if (node.has("payload_base64")) {
            return node.get("payload_base64").binaryValue();
        }
        JsonNode payload = node.get("payload");
        return payload.isNull() ? null : text(payload).getBytes(StandardCharsets.UTF_8);
    }

    /** A text of a vector: a string, or a list of strings and repetitions. */
    static String text(JsonNode node) {
        if (node.isTextual()) {
            return node.asText();
        }
        StringBuilder text = new StringBuilder();
        for (JsonNode item : node) {
            JsonNode repeat = item.get("repeat");
            text.append(
                    repeat == null
                            ? item.asText()
                            : text(repeat.get(0)).repeat(repeat.get(1).asInt()));
        }
        return text.toString();
    }

    /** A vector under its name. */
    record Vector(String name, JsonNode node) {
        @Override
        public String toString() {
            return name;
        }
    }
}
