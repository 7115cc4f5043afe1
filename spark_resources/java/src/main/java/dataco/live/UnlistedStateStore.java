package dataco.live;

import java.util.Collections;
import org.apache.spark.sql.catalyst.expressions.UnsafeRow;
import org.apache.spark.sql.execution.streaming.state.StateStore;
import org.apache.spark.sql.execution.streaming.state.StateStoreId;
import org.apache.spark.sql.execution.streaming.state.StateStoreMetrics;
import org.apache.spark.sql.execution.streaming.state.UnsafeRowPair;
import scala.collection.Iterator;
import scala.collection.JavaConverters;

/** A store that gives each state by its key, but does not list them. */
final class UnlistedStateStore implements StateStore {
    private final StateStore store;

    UnlistedStateStore(StateStore store) {
        this.store = store;
    }

    @Override
    public Iterator<UnsafeRowPair> iterator() {
        return JavaConverters.asScalaIterator(Collections.emptyIterator());
    }

    @Override
    public Iterator<UnsafeRowPair> prefixScan(UnsafeRow prefix) {
        return store.prefixScan(prefix);
    }

    @Override
    public StateStoreId id() {
        return store.id();
    }

    @Override
    public long version() {
        return store.version();
    }

    @Override
    public UnsafeRow get(UnsafeRow key) {
        return store.get(key);
    }

    @Override
    public void put(UnsafeRow key, UnsafeRow value) {
        store.put(key, value);
    }

    @Override
    public void remove(UnsafeRow key) {
        store.remove(key);
    }

    @Override
    public long commit() {
        return store.commit();
    }

    @Override
    public void abort() {
        store.abort();
    }

    @Override
    public StateStoreMetrics metrics() {
        return store.metrics();
    }

    @Override
    public boolean hasCommitted() {
        return store.hasCommitted();
    }
}
