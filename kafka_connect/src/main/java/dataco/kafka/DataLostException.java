package dataco.kafka;

import dataco.failures.IngestException;
import java.util.List;

/** Clicks that were never stored are no longer in the topic. */
public final class DataLostException extends IngestException {
    private static final long serialVersionUID = 1L;

    private DataLostException(String message) {
        super(message, false, null);
    }

    /**
     * Returns the error that names what was lost.
     *
     * @param losses a line each, such as "partition 0: offsets [5, 9) were removed by ..."
     */
    public static DataLostException of(String topic, List<String> losses) {
        StringBuilder text = new StringBuilder(
                "Clicks of topic " + topic + " were lost before they could be stored; no offset was moved:");
        losses.forEach(loss -> text.append("\n  ").append(loss));
        text.append("\nTo go on with what is left: `dataco ingest use drain`, run once with on_data_loss: skip, `dataco"
                + " ingest use connect` (docs/connect.md).");
        return new DataLostException(text.toString());
    }
}
