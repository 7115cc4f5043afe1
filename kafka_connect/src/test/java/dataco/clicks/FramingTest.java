package dataco.clicks;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.HexFormat;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What is Avro, by its first bytes or its header. */
class FramingTest {
    @ParameterizedTest
    @CsvSource({
        "7b7d, true",
        "20, true",
        "c3a4, true",
        "c3, true",
        "02, true",
        "00, false",
        "01ff, false",
        "c301, false"
    })
    void firstBytes(String hex, boolean json) {
        assertEquals(json, Framing.isJson(HexFormat.of().parseHex(hex), null));
    }

    @Test
    void others() {
        assertEquals(true, Framing.isJson(new byte[0], null));
        assertEquals(false, Framing.isJson(new byte[] {'{', '}'}, new byte[0]));
    }
}
