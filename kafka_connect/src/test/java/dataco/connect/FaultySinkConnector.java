package dataco.connect;

import org.apache.kafka.connect.connector.Task;

/** The sink with a planted fault, which the tests' comparison must find ({@link FaultySinkTask}). */
public final class FaultySinkConnector extends ClickSinkConnector {
    @Override
    public Class<? extends Task> taskClass() {
        return FaultySinkTask.class;
    }
}
