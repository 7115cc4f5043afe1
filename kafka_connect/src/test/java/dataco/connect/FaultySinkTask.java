package dataco.connect;

import dataco.failures.IngestException;
import dataco.hbase.RowsOfVersion1;

/**
 * A task with the fault that {@code test.fault} names: {@code offsets-first} moves the ledger before the rows are
 * durable, and ends there; {@code rejected-unsent} goes on without the rejected records; {@code row-key-1} gives rows
 * the keys of version 1, as a sink of an older build would.
 */
public final class FaultySinkTask extends ClickSinkTask {
    @Override
    Ingest newIngest(ClickSinkConfig settings, Servers clients, RejectedShare shares, SinkMetrics counts)
            throws IngestException {
        String fault = settings.originalsStrings().get("test.fault");
        return new Ingest(settings, clients, shares, counts, this::onStep) {
            @Override
            void storeRows() throws IngestException {
                if (fault.equals("offsets-first")) {
                    moveOffsets();
                    throw new IllegalStateException("ended behind the ledger");
                }
                super.storeRows();
                if (fault.equals("row-key-1")) {
                    RowsOfVersion1.rename(clients.hbase(), settings.clicksTable());
                }
            }

            @Override
            void sendRejected() throws IngestException {
                if (!fault.equals("rejected-unsent")) {
                    super.sendRejected();
                }
            }
        };
    }
}
