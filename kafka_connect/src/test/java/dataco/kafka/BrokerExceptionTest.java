package dataco.kafka;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Map;
import org.apache.kafka.common.KafkaException;
import org.junit.jupiter.api.Test;

/** Errors of Kafka's clients: which of them time may end. */
class BrokerExceptionTest {
    @Test
    void wrongOptionIsForAPersonAndIsNamed() {
        Map<String, Object> options = Map.of(
                "bootstrap.servers", "localhost:1", "default.api.timeout.ms", "5", "request.timeout.ms", "30000");
        BrokerException told =
                BrokerException.of(assertThrows(KafkaException.class, () -> new Topics(options)), "clicks");
        assertFalse(told.isPassing());
        assertTrue(told.getMessage().contains("default.api.timeout.ms must be no smaller than"), told.getMessage());
        assertTrue(told.getMessage().contains("begins with kafka."), told.getMessage());

        Map<String, Object> unknown = Map.of("bootstrap.servers", "localhost:1", "compression.type", "best");
        KafkaException error =
                assertThrows(KafkaException.class, () -> new RejectedProducer(unknown, "clicks.rejected"));
        assertFalse(BrokerException.of(error, "clicks.rejected").isPassing());
    }

    @Test
    void nameThatIsNotResolvedMayBeLater() {
        Map<String, Object> options = Map.of("bootstrap.servers", "no-such-broker.invalid:9092");
        BrokerException told =
                BrokerException.of(assertThrows(KafkaException.class, () -> new Topics(options)), "clicks");
        assertTrue(told.isPassing());
        assertTrue(told.getMessage().contains("bootstrap.servers"), told.getMessage());
    }
}
