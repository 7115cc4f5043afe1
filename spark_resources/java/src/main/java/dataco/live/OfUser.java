package dataco.live;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import org.apache.spark.api.java.function.FlatMapGroupsWithStateFunction;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.streaming.GroupState;

/**
 * Spark calls it for each user of whom events came, and for each who is not needed any more. An event (column {@code event}) is an {@link
 * Arrival}, or the time of the user's erasure (epoch ms) in decimal digits. What comes out are {@link Sums} to add.
 */
final class OfUser implements FlatMapGroupsWithStateFunction<byte[], Row, byte[], byte[]> {
    private static final long serialVersionUID = 1L;

    private final long firstHour;
    private final int clicksPerMinute;

    /**
     * Computes hours from one on.
     *
     * @param firstHour the hour, epoch ms
     * @param clicksPerMinute clicks of a bot ({@link BotRule})
     */
    OfUser(long firstHour, int clicksPerMinute) {
        this.firstHour = firstHour;
        this.clicksPerMinute = clicksPerMinute;
    }

    @Override
    public Iterator<byte[]> call(byte[] user, Iterator<Row> events, GroupState<byte[]> state) {
        if (state.hasTimedOut()) {
            state.remove();
            return Collections.emptyIterator();
        }
        List<Arrival> arrivals = new ArrayList<>();
        long erased = UserState.NEVER;
        while (events.hasNext()) {
            byte[] event = events.next().getAs("event");
            if (isErasure(event)) {
                erased = Math.max(erased, Long.parseLong(new String(event, StandardCharsets.US_ASCII)));
            } else {
                arrivals.add(Arrival.decoded(event));
            }
        }
        long watermark = state.getCurrentWatermarkMs();
        UserState before = state.exists() ? UserState.decoded(state.get()) : UserState.NEW;
        UserState.Step step = before.advanced(arrivals, erased, watermark, firstHour, clicksPerMinute);
        long neededUntil = step.after().neededUntil();
        if (neededUntil > watermark) {
            state.update(step.after().encoded());
            state.setTimeoutTimestamp(neededUntil);
        } else if (state.exists()) {
            state.remove();
        }
        return step.differences().isEmpty()
                ? Collections.emptyIterator()
                : List.of(step.differences().encoded()).iterator();
    }

    private static boolean isErasure(byte[] event) {
        return event[0] >= '0' && event[0] <= '9';
    }
}
