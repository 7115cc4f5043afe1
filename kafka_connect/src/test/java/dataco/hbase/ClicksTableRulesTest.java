package dataco.hbase;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.ColumnFamilyDescriptorBuilder;
import org.apache.hadoop.hbase.client.TableDescriptorBuilder;
import org.junit.jupiter.api.Test;

/** Each rule on the clicks table by itself; {@code test_java_writer.py} checks the table that the platform creates. */
class ClicksTableRulesTest {
    private static final int DAYS = 90;
    private static final int SECONDS = 7_776_000;
    private static final List<String> SALTS =
            List.of("01", "02", "03", "04", "05", "06", "07", "08", "09", "0a", "0b", "0c", "0d", "0e", "0f");

    @Test
    void asCreated() {
        assertEquals(List.of(), differences(table -> table, SALTS));
    }

    @Test
    void furtherSplits() {
        List<String> starts = new ArrayList<>(SALTS);
        starts.addAll(List.of("", "03-1431857103000"));
        assertEquals(List.of(), differences(table -> table, starts));
    }

    @Test
    void keysOfVersion1() {
        assertEquals(
                List.of(
                        "row keys are of version not recorded, expected 2",
                        "the number of salts is not recorded, expected 16"),
                differences(
                        table -> table.removeValue("dataco.key_version".getBytes())
                                .removeValue("dataco.salts".getBytes()),
                        SALTS));
    }

    @Test
    void otherSalts() {
        assertEquals(
                List.of("the number of salts is 32, expected 16"),
                differences(table -> table.setValue("dataco.salts", "32"), SALTS));
    }

    @Test
    void families() {
        assertEquals(
                List.of(
                        "column families are [click_data, geo_data, other], expected"
                                + " [click_data, geo_data, user_agent_data]",
                        "TTL in seconds of other is 2147483647, expected 7776000"),
                differences(
                        table -> table.removeColumnFamily("user_agent_data".getBytes())
                                .setColumnFamily(ColumnFamilyDescriptorBuilder.of("other")),
                        SALTS));
    }

    @Test
    void timeToLiveAndVersions() {
        assertEquals(
                List.of(
                        "TTL in seconds of geo_data is 60, expected 7776000",
                        "versions kept of geo_data are 3, expected 1"),
                differences(
                        table ->
                                table.modifyColumnFamily(ColumnFamilyDescriptorBuilder.newBuilder("geo_data".getBytes())
                                        .setTimeToLive(60)
                                        .setMaxVersions(3)
                                        .build()),
                        SALTS));
    }

    @Test
    void missingSplits() {
        assertEquals(
                List.of("it is not split at the salts 0f, so writes would not spread"),
                differences(table -> table, SALTS.subList(0, SALTS.size() - 1)));
    }

    @Test
    void readOnly() {
        assertEquals(List.of("it is read-only"), differences(table -> table.setReadOnly(true), SALTS));
    }

    private static List<String> differences(UnaryOperator<TableDescriptorBuilder> change, List<String> starts) {
        TableDescriptorBuilder table = TableDescriptorBuilder.newBuilder(TableName.valueOf("clicks"))
                .setValue("dataco.key_version", "2")
                .setValue("dataco.salts", "16");
        for (String family : List.of("click_data", "geo_data", "user_agent_data")) {
            table.setColumnFamily(ColumnFamilyDescriptorBuilder.newBuilder(family.getBytes())
                    .setTimeToLive(SECONDS)
                    .setMaxVersions(1)
                    .build());
        }
        return ClicksTableRules.differences(change.apply(table).build(), starts, DAYS);
    }
}
