package dataco.connect;

import dataco.failures.IngestException;

/**
 * A task with the fault that {@code test.fault} names: {@code offsets-first} moves the ledger before the rows are
 * durable, and ends there; {@code rejected-unsent} goes on without the rejected records.
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
