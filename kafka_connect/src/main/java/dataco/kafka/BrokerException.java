package dataco.kafka;

import dataco.failures.IngestException;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.common.errors.AuthenticationException;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Kafka did not do what was asked. */
public final class BrokerException extends IngestException {
    private static final long serialVersionUID = 1L;

    /** In the message for names of brokers that nobody knows, perhaps only now: they are looked up as an option is read. */
    private static final String UNRESOLVED = "resolvable";

    private BrokerException(String message, boolean passing, Throwable cause) {
        super(message, passing, cause);
    }

    /** Returns the error for what a client threw. */
    public static BrokerException of(Throwable error, String topic) {
        Throwable cause = unwrapped(error);
        if (cause instanceof UnknownTopicOrPartitionException) {
            return new BrokerException(
                    "Kafka has no topic " + topic + ". `dataco setup` creates the platform's topics.", false, cause);
        }
        if (cause instanceof ConfigException
                && !String.valueOf(cause.getMessage()).contains(UNRESOLVED)) {
            return new BrokerException(
                    "An option of Kafka's clients is wrong; in the connector's configuration, its name begins with"
                            + " kafka.: " + cause.getMessage(),
                    false,
                    cause);
        }
        boolean permanent = cause instanceof AuthorizationException
                || cause instanceof AuthenticationException
                || cause instanceof InvalidTopicException
                || cause instanceof RecordTooLargeException;
        String what = permanent ? "Kafka refuses the topic " : "Kafka does not serve the topic ";
        return new BrokerException(
                what + topic + " (" + cause.getClass().getSimpleName() + "): " + cause.getMessage(), !permanent, cause);
    }

    /** What lies under the exceptions that only wrap one. */
    private static Throwable unwrapped(Throwable error) {
        Throwable cause = error;
        while (cause.getCause() != null
                && (cause instanceof ExecutionException || cause.getClass() == KafkaException.class)) {
            cause = cause.getCause();
        }
        return cause;
    }
}
