package dataco.ledgers;

/** Who stores the clicks of a topic. */
public enum Mode {
    /** Runs of Dagster. */
    DRAIN("drain", "the drain (runs of Dagster)"),
    /** Tasks of Kafka Connect. */
    CONNECT("connect", "Kafka Connect");

    private final String code;
    private final String description;

    Mode(String code, String description) {
        this.code = code;
        this.description = description;
    }

    String code() {
        return code;
    }

    String description() {
        return description;
    }

    static Mode of(String code) {
        for (Mode mode : values()) {
            if (mode.code.equals(code)) {
                return mode;
            }
        }
        throw new IllegalArgumentException("no mode of ingest: " + code);
    }
}
