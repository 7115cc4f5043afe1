package dataco.connect;

import org.apache.kafka.connect.connector.Task;

/** The sink with tasks that end the worker where a test asks for it ({@link HaltingSinkTask}). */
public final class HaltingSinkConnector extends ClickSinkConnector {
    @Override
    public Class<? extends Task> taskClass() {
        return HaltingSinkTask.class;
    }
}
