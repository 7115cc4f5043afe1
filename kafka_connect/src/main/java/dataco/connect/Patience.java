package dataco.connect;

import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;

/** How long a task has been failing, in one go. */
final class Patience {
    /** A failure that comes so long after the last one has nothing to do with it. */
    private static final long CALM_SECONDS = 300;

    private final LongSupplier nanoTime;
    private boolean failing;
    private long sinceNanos;
    private long lastNanos;

    Patience() {
        this(System::nanoTime);
    }

    Patience(LongSupplier nanoTime) {
        this.nanoTime = nanoTime;
    }

    /** Notes a failure, and returns whether less than so many seconds have passed since the first of them. */
    boolean isLeft(long seconds) {
        long now = nanoTime.getAsLong();
        if (!failing || TimeUnit.NANOSECONDS.toSeconds(now - lastNanos) > CALM_SECONDS) {
            failing = true;
            sinceNanos = now;
        }
        lastNanos = now;
        return TimeUnit.NANOSECONDS.toSeconds(now - sinceNanos) < seconds;
    }

    /** Notes that a checkpoint was made. */
    void succeeded() {
        failing = false;
    }
}
