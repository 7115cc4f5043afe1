package dataco.connect;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.kafka.common.config.Config;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigValue;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.sink.SinkConnector;

/** Stores the clicks of a topic in HBase, each exactly once; see {@code docs/connect.md}. */
public class ClickSinkConnector extends SinkConnector {
    private Map<String, String> properties = Map.of();

    @Override
    public String version() {
        return versionOf(ClickSinkConnector.class);
    }

    @Override
    public ConfigDef config() {
        return ClickSinkConfig.DEFINITION;
    }

    @Override
    public Config validate(Map<String, String> given) {
        List<ConfigValue> values = new ArrayList<>(super.validate(given).configValues());
        // Without their values: Connect has converted those in its own answer, and would do so with a text again.
        Surroundings.problems(given).forEach((name, problem) -> {
            String message = "Invalid value " + given.get(name) + " for configuration " + name + ": " + problem;
            values.add(new ConfigValue(name, null, List.of(), new ArrayList<>(List.of(message))));
        });
        return new Config(values);
    }

    @Override
    public void start(Map<String, String> given) {
        requireSurroundings(given);
        properties = Map.copyOf(given);
    }

    @Override
    public Class<? extends Task> taskClass() {
        return ClickSinkTask.class;
    }

    @Override
    public List<Map<String, String>> taskConfigs(int maxTasks) {
        return Collections.nCopies(maxTasks, properties);
    }

    @Override
    public void stop() {
        // Nothing runs here; the tasks do the work.
    }

    /** Refuses settings with which clicks would be lost or changed. */
    static void requireSurroundings(Map<String, String> given) {
        Map<String, String> problems = Surroundings.problems(given);
        if (!problems.isEmpty()) {
            throw new ConnectException("The sink cannot work so: "
                    + problems.entrySet().stream()
                            .map(problem -> problem.getKey() + " " + problem.getValue())
                            .collect(Collectors.joining("; ")));
        }
    }

    static String versionOf(Class<?> type) {
        String version = type.getPackage().getImplementationVersion();
        return version == null ? "unpackaged" : version;
    }
}
