package dataco.connect;

import java.util.List;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;

/**
 * Recommends values in the answer to a validation, any other value that keeps the rule being accepted, too; or says that a
 * setting means nothing unless another one is given, so that a form need not show it.
 */
final class Recommended implements ConfigDef.Recommender {
    private final List<Object> values;
    private final String needed;

    private Recommended(List<Object> values, String needed) {
        this.values = values;
        this.needed = needed;
    }

    static Recommended values(Object... values) {
        return new Recommended(List.of(values), "");
    }

    /** Shows the setting only where another one, a text, is not empty. */
    static Recommended onlyWith(String setting) {
        return new Recommended(List.of(), setting);
    }

    @Override
    public List<Object> validValues(String name, Map<String, Object> parsed) {
        return values;
    }

    @Override
    public boolean visible(String name, Map<String, Object> parsed) {
        return needed.isEmpty() || parsed.get(needed) instanceof String text && !text.isEmpty();
    }
}
