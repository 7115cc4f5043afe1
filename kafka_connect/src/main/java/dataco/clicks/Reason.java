package dataco.clicks;

/** Why a click was rejected. The codes are in Kafka headers and dashboards: never rename one. */
public enum Reason {
    TOMBSTONE("tombstone"),
    TOO_LARGE("too_large"),
    INCOMPLETE_HEADER("incomplete_header"),
    UNKNOWN_SCHEMA("unknown_schema"),
    UNSUITABLE_SCHEMA("unsuitable_schema"),
    MALFORMED_AVRO("malformed_avro"),
    MALFORMED_JSON("malformed_json"),
    NOT_AN_OBJECT("not_an_object"),
    MISSING_FIELD("missing_field"),
    WRONG_TYPE("wrong_type"),
    CONTROL_CHARACTER("control_character"),
    WRONG_LENGTH("wrong_length"),
    INVALID_TIMESTAMP("invalid_timestamp"),
    TIMESTAMP_IN_FUTURE("timestamp_in_future"),
    BEFORE_FIRST_PARTITION("before_first_partition"),
    INVALID_URL("invalid_url"),
    INVALID_IP_ADDRESS("invalid_ip_address"),
    INVALID_COUNTRY("invalid_country"),
    REFUSED_BY_STORE("refused_by_store");

    private final String code;

    Reason(String code) {
        this.code = code;
    }

    /** Returns the reason as it is written in headers and dashboards. */
    public String code() {
        return code;
    }
}
