package dataco.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import dataco.clicks.WriterSchema;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What is made of a registry's answers; the integration tests have a registry that judges what it is asked. */
class SchemaRegistryTest {
    private static final String STALLED = "{\"schema\": ";

    private final Map<String, String> answers = new HashMap<>();
    private final List<String> asked = new ArrayList<>();
    private int status = 200;
    private HttpServer server;

    @BeforeEach
    void start() throws IOException {
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/", this::answer);
        server.start();
    }

    @AfterEach
    void stop() {
        server.stop(0);
    }

    @Test
    void aSchemaWithWhatItRefersTo() throws RegistryException {
        answers.put(
                "/schemas/ids/7",
                "{\"schema\": \"main\", \"references\": [{\"name\": \"x\", \"subject\": \"a b/c\", \"version\": 2},"
                        + " {\"name\": \"y\", \"subject\": \"kind\", \"version\": 1}]}");
        answers.put(
                "/subjects/a%20b%2Fc/versions/2",
                "{\"schema\": \"outer\", \"references\": [{\"subject\": \"kind\", \"version\": 1}]}");
        answers.put("/subjects/kind/versions/1", "{\"schema\": \"inner\"}");
        WriterSchema expected = new WriterSchema("main", List.of("inner", "outer"), "AVRO");
        assertEquals(Optional.of(expected), registry("", "token").byId("7"));
        assertEquals("Bearer token", asked.get(0));
        answers.remove("/subjects/kind/versions/1");
        status = 404;
        assertThrows(RegistryException.class, () -> registry("", "").byId("7"));
    }

    @Test
    void othersThanAvro() throws RegistryException {
        answers.put("/schemas/guids/g", "{\"schema\": \"{}\", \"schemaType\": \"JSON\"}");
        assertEquals("JSON", registry("me", "").byGuid("g").orElseThrow().kind());
        assertEquals("Basic bWU6c2VjcmV0", asked.get(0)); // base64 of me:secret
    }

    @Test
    void noSuchSchema() throws RegistryException {
        answers.put("/schemas/ids/1", "{\"error_code\": 40403, \"message\": \"Schema not found\"}");
        assertEquals(Optional.empty(), registry("", "").byId("1"));
    }

    @ParameterizedTest
    @CsvSource({
        "404, false, is schema.registry.url the address",
        "401, false, refuses the request",
        "403, false, refuses the request",
        "302, false, answers 302",
        "200, false, answers 200",
        "408, true, cannot answer now",
        "429, true, cannot answer now",
        "500, true, cannot answer now",
        "503, true, cannot answer now"
    })
    void anythingElse(int code, boolean passing, String told) {
        status = code;
        RegistryException error =
                assertThrows(RegistryException.class, () -> registry("", "").byId("1"));
        assertEquals(passing, error.isPassing());
        assertTrue(error.getMessage().toLowerCase().contains(told.toLowerCase()), error.getMessage());
    }

    @Test
    void nobodyThere() throws RegistryException {
        SchemaRegistry registry = registry("", "");
        server.stop(0);
        RegistryException error = assertThrows(RegistryException.class, () -> registry.byId("1"));
        assertTrue(error.isPassing());
        assertTrue(error.getMessage().contains("does not answer"), error.getMessage());
    }

    @Test
    void anAnswerThatDoesNotEnd() throws RegistryException {
        answers.put("/schemas/ids/1", STALLED);
        RegistryAccess access = new RegistryAccess(url(), "", "", "", "");
        SchemaRegistry registry = new SchemaRegistry(access, Duration.ofSeconds(1));
        RegistryException error = assertTimeoutPreemptively(
                Duration.ofSeconds(20), () -> assertThrows(RegistryException.class, () -> registry.byId("1")));
        assertTrue(error.isPassing());
        assertTrue(error.getMessage().contains("does not answer"), error.getMessage());
    }

    private String url() {
        return "http://127.0.0.1:" + server.getAddress().getPort() + "/";
    }

    private SchemaRegistry registry(String username, String token) throws RegistryException {
        return new SchemaRegistry(new RegistryAccess(url(), username, "secret", token, ""));
    }

    private void answer(HttpExchange exchange) throws IOException {
        asked.add(String.valueOf(exchange.getRequestHeaders().getFirst("Authorization")));
        String path = exchange.getRequestURI().getRawPath();
        String found = answers.getOrDefault(path, "no schema");
        byte[] body = found.getBytes(StandardCharsets.UTF_8);
        int code = !answers.containsKey(path) ? status : found.contains("error_code") ? 404 : 200;
        if (found.equals(STALLED)) {
            exchange.sendResponseHeaders(code, body.length + 1); // the last byte does not come
            exchange.getResponseBody().write(body);
            exchange.getResponseBody().flush();
            return;
        }
        exchange.sendResponseHeaders(code, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }
}
