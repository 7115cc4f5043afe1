package dataco.connect;

import dataco.clicks.Reason;
import dataco.kafka.RejectedClick;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/** Judges whether too large a share of the messages is rejected, over at least 1,000 of them. */
final class RejectedShare {
    /** Minimum number of messages of which a share is judged. */
    static final int CHECKED_FROM = 1_000;

    private static final int LISTED_REASONS = 5;
    private static final int PERCENT = 100;

    private final String topic;
    private final double most;
    private long earlierSeen;
    private long earlierRejected;

    RejectedShare(String topic, double most) {
        this.topic = topic;
        this.most = most;
    }

    /**
     * Judges a window by itself, and together with the smaller ones before it.
     *
     * @throws TooManyRejectedException the share is too large
     */
    void check(int seen, List<RejectedClick> rejected) throws TooManyRejectedException {
        check(seen, rejected.size(), rejected);
        check(earlierSeen + seen, earlierRejected + rejected.size(), rejected);
    }

    /** Notes a window that is durable. */
    void note(int seen, int rejected) {
        boolean judged = earlierSeen + seen >= CHECKED_FROM;
        earlierSeen = judged ? 0 : earlierSeen + seen;
        earlierRejected = judged ? 0 : earlierRejected + rejected;
    }

    private void check(long seen, long refused, List<RejectedClick> rejected) throws TooManyRejectedException {
        if (seen < CHECKED_FROM || refused <= most * seen) {
            return;
        }
        String example = rejected.isEmpty()
                ? "none in this window"
                : rejected.get(0).rejection().detail();
        throw new TooManyRejectedException(String.format(
                Locale.ROOT,
                "%,d of %,d messages of topic %s are invalid, more than %.0f%% (%s; for example: %s). The producer has"
                        + " probably changed, so none of these was sent to the rejected topic and their offsets stay."
                        + " If they really are to be rejected, set rejected.max.share to 1.0 until they are.",
                refused,
                seen,
                topic,
                most * PERCENT,
                listed(rejected),
                example));
    }

    private static String listed(List<RejectedClick> rejected) {
        Map<Reason, Integer> counts = new EnumMap<>(Reason.class);
        rejected.forEach(click -> counts.merge(click.rejection().reason(), 1, Integer::sum));
        return counts.entrySet().stream()
                .sorted(Map.Entry.<Reason, Integer>comparingByValue().reversed())
                .limit(LISTED_REASONS)
                .map(entry -> entry.getValue() + " " + entry.getKey().code())
                .collect(Collectors.joining(", "));
    }
}
