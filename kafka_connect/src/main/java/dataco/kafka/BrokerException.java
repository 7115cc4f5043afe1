package dataco.kafka;

import dataco.failures.IngestException;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.common.errors.AuthenticationException;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Kafka did not do what was asked. */
public final class BrokerException extends IngestException {
    private static final long serialVersionUID = 1L;

    private BrokerException(String message, boolean passing, Throwable cause) {
        super(message, passing, cause);
    }

    /** Returns the error for what a client threw. */
    public static BrokerException of(Throwable error, String topic) {
        Throwable cause = error instanceof ExecutionException && error.getCause() != null ? error.getCause() : error;
        if (cause instanceof UnknownTopicOrPartitionException) {
            return new BrokerException(
                    "Kafka has no topic " + topic + ". `dataco setup` creates the platform's topics.", false, cause);
        }
        boolean permanent = cause instanceof AuthorizationException
                || cause instanceof AuthenticationException
                || cause instanceof InvalidTopicException
                || cause instanceof RecordTooLargeException;
        String what = permanent ? "Kafka refuses the topic " : "Kafka does not serve the topic ";
        return new BrokerException(
                what + topic + " (" + cause.getClass().getSimpleName() + "): " + cause.getMessage(), !permanent, cause);
    }
}
