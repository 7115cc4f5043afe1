package dataco.clicks;

import java.nio.charset.StandardCharsets;
import java.util.function.Function;

/** A column of the clicks table. Their order is that of the cells of a row. */
public enum Column {
    EVENT_ID("click_data", "event_id", Click::eventId),
    USER_ID("click_data", "user_id", Click::userId),
    TIMESTAMP("click_data", "timestamp", click -> Long.toString(click.timestamp())),
    URL("click_data", "url", Click::url),
    PAGE("click_data", "page", Click::page),
    IP_ADDRESS("click_data", "ip_address", Click::ipAddress),
    USER_AGENT("click_data", "user_agent", Click::userAgent),
    REFERRER("click_data", "referrer", Click::referrer),
    REFERRER_HOST("click_data", "referrer_host", Click::referrerHost),
    COUNTRY("geo_data", "country", Click::country),
    CITY("geo_data", "city", Click::city),
    BROWSER("user_agent_data", "browser", Click::browser),
    OPERATING_SYSTEM("user_agent_data", "operating_system", Click::operatingSystem),
    DEVICE("user_agent_data", "device", Click::device);

    private final String family;
    private final String qualifier;
    private final Function<Click, String> value;

    Column(String family, String qualifier, Function<Click, String> value) {
        this.family = family;
        this.qualifier = qualifier;
        this.value = value;
    }

    /** Returns the name of the column family. */
    public String family() {
        return family;
    }

    /** Returns the name within the family. */
    public String qualifier() {
        return qualifier;
    }

    /** Returns the click's cell in this column, UTF-8; empty when the value is unknown. */
    public byte[] cell(Click click) {
        return value.apply(click).getBytes(StandardCharsets.UTF_8);
    }
}
