package dataco.connect;

import org.apache.kafka.connect.errors.ConnectException;

/** The task ended because a server was away for too long. Its name in the task's trace says that a restart may help. */
public final class PassingFailureException extends ConnectException {
    private static final long serialVersionUID = 1L;

    PassingFailureException(String message, Throwable cause) {
        super(message, cause);
    }
}
