package dataco.live;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * Answers the cases on standard input, one a line, for the differential test ({@code
 * dataco_assets_tests/codecs/test_live_state.py}). The first line is the list of measures.
 */
public final class StateHarness {
    private StateHarness() {}

    /** Answers until standard input ends. */
    public static void main(String[] arguments) throws IOException {
        PrintStream answers = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        List<String> measures = new ArrayList<>();
        Cases.JSON.readTree(lines.readLine()).forEach(name -> measures.add(name.asText()));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonNode test = Cases.JSON.readTree(line);
            answers.println(Cases.answer(test, measures));
        }
        answers.flush();
    }
}
