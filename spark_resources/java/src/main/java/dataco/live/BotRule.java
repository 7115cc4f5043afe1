package dataco.live;

import java.io.Serializable;
import java.util.Arrays;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Which clicks are of bots; {@code dataco_assets/clicks/bots.py} has the definition.
 *
 * @param agents browser and device families of bots, letter for letter
 * @param clicksPerMinute clicks of a user in a minute of the clock from which all of them are a bot's; 0: no number
 */
public record BotRule(Set<String> agents, int clicksPerMinute) implements Serializable {
    private static final long MINUTE_MS = 60_000;

    /**
     * Returns a rule.
     *
     * @param agents its agents, one on each line
     * @param clicksPerMinute its number of clicks
     */
    public static BotRule of(String agents, int clicksPerMinute) {
        Set<String> found = Arrays.stream(agents.split("\n"))
                .filter(each -> !each.isEmpty())
                .collect(Collectors.toSet());
        return new BotRule(found, clicksPerMinute);
    }

    /** Returns whether a browser or a device is a bot's; either may be null. */
    boolean isAgent(String browser, String device) {
        return browser != null && agents.contains(browser) || device != null && agents.contains(device);
    }

    /** Returns whether so many clicks of a user in a minute are a bot's. */
    static boolean isRate(int clicks, int clicksPerMinute) {
        return clicksPerMinute > 0 && clicks >= clicksPerMinute;
    }

    /** Returns the minute of the clock that a time is in. */
    static long minuteOf(long timestampMs) {
        return timestampMs / MINUTE_MS;
    }
}
