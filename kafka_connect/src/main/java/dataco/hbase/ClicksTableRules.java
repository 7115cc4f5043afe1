package dataco.hbase;

import dataco.clicks.Column;
import dataco.clicks.RowKey;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collector;
import java.util.stream.Collectors;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.ColumnFamilyDescriptor;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.RegionInfo;
import org.apache.hadoop.hbase.client.TableDescriptor;

/** What the clicks table must be like before a click is written to it; {@code dataco setup} creates it so. */
public final class ClicksTableRules {
    private static final String KEY_VERSION = "2";
    private static final String SALTS = Integer.toString(RowKey.SALTS);

    private ClicksTableRules() {}

    /**
     * Refuses a table that differs from the rules, and changes nothing.
     *
     * @param ttlDays days that a click is kept, as the platform has it set
     * @throws StoreException the table is missing, differs (the message names each difference), or HBase does not answer
     */
    public static void require(Connection connection, String table, int ttlDays) throws StoreException {
        List<String> differences;
        try (Admin admin = connection.getAdmin()) {
            TableName name = TableName.valueOf(table);
            TableDescriptor descriptor = admin.getDescriptor(name);
            List<String> starts = admin.getRegions(name).stream()
                    .map(RegionInfo::getStartKey)
                    .map(key -> new String(key, StandardCharsets.ISO_8859_1))
                    .toList();
            differences = differences(descriptor, starts, ttlDays);
        } catch (IllegalArgumentException error) {
            throw StoreException.invalidName(table, error);
        } catch (IOException error) {
            throw StoreException.of(error, table);
        }
        if (!differences.isEmpty()) {
            throw StoreException.permanent("The HBase table " + table + " is not as clicks need it: "
                    + String.join("; ", differences)
                    + ". Nothing was changed and nothing is written. `dataco setup` creates a table as needed and says"
                    + " how an existing one is brought up to date.");
        }
    }

    /**
     * Returns each difference between a table and the rules.
     *
     * @param starts first keys of its regions
     */
    static List<String> differences(TableDescriptor table, Collection<String> starts, int ttlDays) {
        List<String> found = new ArrayList<>();
        // Tables from before versions were recorded have keys of version 1.
        compare(found, "row keys are of version", KEY_VERSION, table.getValue("dataco.key_version"));
        compare(found, "the number of salts is", SALTS, table.getValue("dataco.salts"));
        Set<String> families =
                Arrays.stream(Column.values()).map(Column::family).collect(sorted());
        Set<String> present = Arrays.stream(table.getColumnFamilies())
                .map(ColumnFamilyDescriptor::getNameAsString)
                .collect(sorted());
        compare(found, "column families are", families.toString(), present.toString());
        for (ColumnFamilyDescriptor family : table.getColumnFamilies()) {
            String name = family.getNameAsString();
            long expected = TimeUnit.DAYS.toSeconds(ttlDays);
            compare(found, "TTL in seconds of " + name + " is", "" + expected, "" + family.getTimeToLive());
            compare(found, "versions kept of " + name + " are", "1", "" + family.getMaxVersions());
        }
        Set<String> missing = new TreeSet<>(splitKeys());
        missing.removeAll(starts);
        if (!missing.isEmpty()) {
            found.add("it is not split at the salts " + String.join(", ", missing) + ", so writes would not spread");
        }
        if (table.isReadOnly()) {
            found.add("it is read-only");
        }
        return found;
    }

    /** The keys at which a table is split: one region per salt. */
    static List<String> splitKeys() {
        List<String> keys = new ArrayList<>();
        for (int salt = 1; salt < RowKey.SALTS; salt++) {
            keys.add(RowKey.saltDigits(salt));
        }
        return keys;
    }

    private static void compare(List<String> found, String what, String expected, String present) {
        if (!expected.equals(present)) {
            found.add(what + " " + Objects.requireNonNullElse(present, "not recorded") + ", expected " + expected);
        }
    }

    private static Collector<String, ?, TreeSet<String>> sorted() {
        return Collectors.toCollection(TreeSet::new);
    }
}
