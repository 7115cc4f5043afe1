package dataco.live;

import org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider;
import org.apache.spark.sql.execution.streaming.state.StateStore;

/**
 * The state of users in RocksDB. Spark looks for users who are not needed any more by reading the states of all, in each
 * micro-batch; here it finds some only in every hundredth.
 *
 * <p>A state that stays longer changes nothing: {@link UserState#advanced} goes by the watermark, whatever else is there.
 * Which micro-batches they are depends on their numbers alone, so one that is tried again does the same.
 */
public final class UserStateProvider extends RocksDBStateStoreProvider {
    private static final long EVERY = 100;

    @Override
    public StateStore getStore(long version) {
        StateStore store = super.getStore(version);
        return version % EVERY == 0 ? store : new UnlistedStateStore(store);
    }
}
