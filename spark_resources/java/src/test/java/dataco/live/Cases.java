package dataco.live;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;

/** Cases as data: micro-batches of a user, and what comes of each. {@code live_oracle.py} answers the same. */
final class Cases {
    static final ObjectMapper JSON = new ObjectMapper();
    private static final int HALF_DIGITS = 16;

    private Cases() {}

    /**
     * Returns what comes of the steps of a case. All that Spark would store or send goes through its encoding.
     *
     * @param test a case, with {@code first_hour}, {@code steps} and, unless it is 0, {@code clicks_per_minute}
     * @param measures names of the measures
     */
    static ArrayNode answer(JsonNode test, List<String> measures) {
        byte[] state = UserState.NEW.encoded();
        ArrayNode answers = JSON.createArrayNode();
        for (JsonNode step : test.get("steps")) {
            List<Arrival> arrivals = new ArrayList<>();
            step.get("arrivals")
                    .forEach(each -> arrivals.add(Arrival.decoded(arrival(each).encoded())));
            UserState.Step found = UserState.decoded(state)
                    .advanced(
                            arrivals,
                            step.has("erased") ? step.get("erased").asLong() : UserState.NEVER,
                            step.get("watermark").asLong(),
                            test.get("first_hour").asLong(),
                            test.path("clicks_per_minute").asInt());
            state = found.after().encoded();
            ObjectNode answer = answers.addObject();
            answer.set("differences", differences(found.differences(), measures));
            ArrayNode kept = answer.putArray("kept");
            for (UserClick click : UserState.decoded(state).clicks()) {
                HexFormat hex = HexFormat.of();
                kept.addArray()
                        .add(click.timestamp())
                        .add(hex.toHexDigits(click.keyHigh()) + hex.toHexDigits(click.keyLow()));
            }
            answer.put("needed_until", found.after().neededUntil());
        }
        return answers;
    }

    private static Arrival arrival(JsonNode written) {
        String key = written.get(3).asText();
        UserClick click = new UserClick(
                written.get(2).asLong(),
                Long.parseUnsignedLong(key.substring(0, HALF_DIGITS), 16),
                Long.parseUnsignedLong(key.substring(HALF_DIGITS), 16),
                written.get(4).asLong(),
                new Group(written.get(5).asText(), written.get(6).asText()),
                written.path(7).asBoolean());
        return new Arrival(written.get(0).asInt(), written.get(1).asLong(), click);
    }

    /** As lists of hour, page, country and the numbers that are not 0 by name, in order. */
    private static ArrayNode differences(Sums sums, List<String> measures) {
        List<List<Object>> rows = new Sums().addEncoded(sums.encoded()).rows();
        rows.sort((one, other) ->
                one.subList(0, 3).toString().compareTo(other.subList(0, 3).toString()));
        ArrayNode written = JSON.createArrayNode();
        for (List<Object> row : rows) {
            ArrayNode difference = written.addArray()
                    .add((long) row.get(0))
                    .add((String) row.get(1))
                    .add((String) row.get(2));
            ObjectNode numbers = difference.addObject();
            for (int i = 0; i < measures.size(); i++) {
                long number = ((long[]) row.get(3))[i];
                if (number != 0) {
                    numbers.put(measures.get(i), number);
                }
            }
        }
        return written;
    }
}
