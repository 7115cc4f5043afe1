package dataco.live;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoder;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.streaming.GroupStateTimeout;
import org.apache.spark.sql.streaming.OutputMode;

/** The parts of the streaming query that need Java; {@code spark_resources/live/application.py} puts them together. */
public final class Pipeline {
    private static final ObjectMapper JSON = new ObjectMapper();

    private Pipeline() {}

    /**
     * Decodes clicks.
     *
     * @param records columns value, header, time of arrival (epoch ms), partition, offset
     * @param place where schemas are found
     * @param earliestMs start of the first partition, epoch ms; older clicks are rejected
     * @param firstNeededMs clicks before it (epoch ms) are left out
     * @param bots whose agents are marked
     * @return columns {@code user} (its hash), {@code time} (epoch ms) and {@code event}
     */
    public static Dataset<Row> decoded(
            Dataset<Row> records, SchemaPlace place, long earliestMs, long firstNeededMs, BotRule bots) {
        return records.as(Encoders.tuple(
                        Encoders.BINARY(), Encoders.BINARY(), Encoders.LONG(), Encoders.INT(), Encoders.LONG()))
                .mapPartitions(
                        new Decoder(place, earliestMs, firstNeededMs, bots),
                        Encoders.tuple(Encoders.BINARY(), Encoders.LONG(), Encoders.BINARY()))
                .toDF("user", "time", "event");
    }

    /**
     * Keeps the state of users, and computes what each micro-batch adds to the sums of groups.
     *
     * @param events columns {@code user} and {@code event}, and an event time with a watermark
     * @param firstHour the first hour to compute, epoch ms
     * @param bots whose number of clicks is a bot's
     * @return JSON, one row for each task that found a change: a list of [hour (epoch ms), page, country, numbers]
     */
    public static Dataset<Row> differences(Dataset<Row> events, long firstHour, BotRule bots) {
        Encoder<byte[]> bytes = Encoders.BINARY();
        return events.groupBy("user")
                .as(bytes, Encoders.row(events.schema()))
                .flatMapGroupsWithState(
                        new OfUser(firstHour, bots.clicksPerMinute()),
                        OutputMode.Update(),
                        bytes,
                        bytes,
                        GroupStateTimeout.EventTimeTimeout())
                .mapPartitions((MapPartitionsFunction<byte[], byte[]>) Pipeline::added, bytes)
                .toDF("differences");
    }

    /** The differences of all users of a task, added up by group; nothing when there are none. */
    private static Iterator<byte[]> added(Iterator<byte[]> ofUsers) throws JsonProcessingException {
        Sums sums = new Sums();
        ofUsers.forEachRemaining(sums::addEncoded);
        return sums.withoutZeros().isEmpty()
                ? Collections.emptyIterator()
                : List.of(JSON.writeValueAsBytes(sums.rows())).iterator();
    }
}
