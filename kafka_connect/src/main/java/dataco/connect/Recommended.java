package dataco.connect;

import java.util.List;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;

/** Recommends values in the answer to a validation; any other value that keeps the rule is accepted, too. */
final class Recommended implements ConfigDef.Recommender {
    private final List<Object> values;

    private Recommended(List<Object> values) {
        this.values = values;
    }

    static Recommended values(Object... values) {
        return new Recommended(List.of(values));
    }

    @Override
    public List<Object> validValues(String name, Map<String, Object> parsed) {
        return values;
    }

    @Override
    public boolean visible(String name, Map<String, Object> parsed) {
        return true;
    }
}
