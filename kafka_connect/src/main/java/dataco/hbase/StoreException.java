package dataco.hbase;

import dataco.failures.IngestException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.hadoop.hbase.client.RetriesExhaustedWithDetailsException;

/** HBase did not do what was asked, for a reason that lies in no single click. */
public final class StoreException extends IngestException {
    private static final long serialVersionUID = 1L;
    private static final int MAX_MESSAGE = 300;
    private static final int MAX_CAUSES = 10;
    private static final Pattern PERMANENT = Pattern.compile(
            "TableNotFoundException|NoSuchColumnFamilyException|AccessDeniedException|NamespaceNotFoundException"
                    + "|UnknownProtocolException|region is read only");

    private StoreException(String message, boolean passing, Throwable cause) {
        super(message, passing, cause);
    }

    /** Returns the error for something that stays wrong until a person changes it. */
    static StoreException permanent(String message) {
        return new StoreException(message, false, null);
    }

    /** Returns the error for a name that no table can have. */
    static StoreException invalidName(String table, IllegalArgumentException error) {
        return permanent("No HBase table can have the name " + firstLine(table) + ": " + firstLine(error.getMessage()));
    }

    /** Returns the error for what HBase's client threw while it did something with a table. */
    public static StoreException of(Throwable error, String table) {
        String text = described(error);
        Matcher permanent = PERMANENT.matcher(text);
        if (permanent.find()) {
            String message = "HBase refuses the table " + table + " (" + permanent.group() + "): " + firstLine(text)
                    + ". `dataco setup` creates what is missing and says what differs.";
            return new StoreException(message, false, error);
        }
        String message = "HBase does not serve the table " + table + ": " + firstLine(text)
                + ". Are the master, the region servers and ZooKeeper running, and is the table enabled?";
        return new StoreException(message, true, error);
    }

    /** The error and its causes: what matters is often at the bottom. */
    private static String described(Throwable error) {
        StringBuilder text = new StringBuilder();
        Throwable cause = error;
        for (int i = 0; i < MAX_CAUSES && cause != null; i++) {
            text.append(i == 0 ? "" : "; ").append(cause);
            cause = causeOf(cause);
        }
        return text.toString();
    }

    /** The failure of a batch has no cause; its text names the message of those of its rows, but not their classes. */
    private static Throwable causeOf(Throwable error) {
        return error instanceof RetriesExhaustedWithDetailsException batch && batch.getNumExceptions() > 0
                ? batch.getCause(0)
                : error.getCause();
    }

    /** The first line of a message, which may quote a row, bounded and printable. */
    static String firstLine(String message) {
        String line = message.strip().lines().findFirst().orElse("no message").replaceAll("[^ -~]", "?");
        return line.length() <= MAX_MESSAGE ? line : line.substring(0, MAX_MESSAGE) + "...";
    }
}
