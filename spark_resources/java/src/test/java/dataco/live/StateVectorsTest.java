package dataco.live;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Hand-written micro-batches of a user, which the Python oracle passes as well. */
class StateVectorsTest {
    private static final Path VECTORS = Path.of("..", "..", "dataco_assets_tests", "vectors", "live.json");

    static Stream<Arguments> cases() throws IOException {
        JsonNode file = Cases.JSON.readTree(VECTORS.toFile());
        List<String> measures = new ArrayList<>();
        file.get("measures").forEach(name -> measures.add(name.asText()));
        assertEquals(Sums.MEASURES, measures.size());
        List<Arguments> cases = new ArrayList<>();
        file.get("cases")
                .forEach(each -> cases.add(Arguments.of(each.get("name").asText(), each, measures)));
        assertTrue(cases.size() > 10, "vectors are missing");
        return cases.stream();
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("cases")
    void vector(String name, JsonNode test, List<String> measures) {
        int number = 0;
        for (JsonNode answer : Cases.answer(test, measures)) {
            JsonNode expected = test.get("steps").get(number++).get("expect");
            expected.properties()
                    .forEach(each -> assertEquals(
                            each.getValue().toString(),
                            answer.get(each.getKey()).toString()));
        }
        assertEquals(test.get("steps").size(), number);
    }
}
