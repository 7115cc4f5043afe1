package dataco.registry;

import dataco.clicks.JsonReader;
import dataco.clicks.JsonValue;
import dataco.clicks.WriterSchema;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import javax.net.ssl.SSLHandshakeException;

/**
 * A schema registry with the REST API that Confluent's defined. Nothing is cached here, and nothing is tried again: the task
 * does both.
 */
public final class SchemaRegistry {
    private static final Duration TIMEOUT = Duration.ofSeconds(10);
    private static final String ACCEPT = "application/vnd.schemaregistry.v1+json, application/json";

    /** Error codes of a 404 that is about the schema, and not about the path. */
    private static final Set<String> NO_SCHEMA = Set.of("40403");

    private static final Set<String> NO_VERSION = Set.of("40401", "40402");
    private static final Set<Integer> BUSY = Set.of(408, 429);
    private static final int OK = 200;
    private static final int UNAUTHORIZED = 401;
    private static final int FORBIDDEN = 403;
    private static final int NOT_FOUND = 404;
    private static final int SERVER_ERROR = 500;
    private static final int SHOWN = 200;

    /** Most schemas that refer to each other in a row. */
    private static final int DEEPEST = 20;

    private final RegistryAccess access;
    private final Duration timeout;
    private final HttpClient client;

    /**
     * Connects when something is asked.
     *
     * @throws RegistryException the file of authorities cannot be used
     */
    public SchemaRegistry(RegistryAccess access) throws RegistryException {
        this(access, TIMEOUT);
    }

    /** The same, with another limit to the time of an answer. */
    SchemaRegistry(RegistryAccess access, Duration timeout) throws RegistryException {
        this.access = access;
        this.timeout = timeout;
        HttpClient.Builder builder = HttpClient.newBuilder()
                .version(HttpClient.Version.HTTP_1_1)
                .followRedirects(HttpClient.Redirect.NEVER)
                .connectTimeout(timeout);
        this.client = access.caFile().isEmpty()
                ? builder.build()
                : builder.sslContext(Authorities.of(access.caFile())).build();
    }

    /** Returns the schema with an id; empty when there is none. */
    Optional<WriterSchema> byId(String id) throws RegistryException {
        return schema("/schemas/ids/" + id);
    }

    /** Returns the schema with a GUID; empty when there is none. */
    Optional<WriterSchema> byGuid(String guid) throws RegistryException {
        return schema("/schemas/guids/" + guid);
    }

    private Optional<WriterSchema> schema(String path) throws RegistryException {
        Optional<Map<String, JsonValue>> found = get(path, NO_SCHEMA);
        if (found.isEmpty()) {
            return Optional.empty();
        }
        Map<String, String> references = new LinkedHashMap<>();
        collect(path, found.get(), references, 0);
        String kind = found.get().get("schemaType") instanceof JsonValue.Text text ? text.value() : WriterSchema.AVRO;
        return Optional.of(new WriterSchema(text(path, found.get()), List.copyOf(references.values()), kind));
    }

    /** Adds what a schema refers to, each behind what it refers to itself. */
    private void collect(String path, Map<String, JsonValue> schema, Map<String, String> found, int depth)
            throws RegistryException {
        if (depth > DEEPEST) {
            throw RegistryException.permanent(
                    asked(path) + " gives schemas that refer to each other more than " + DEEPEST + " deep.", null);
        }
        if (!(schema.get("references") instanceof JsonValue.Items references)) {
            return;
        }
        for (JsonValue reference : references.values()) {
            String place = place(path, reference);
            if (!found.containsKey(place)) {
                Map<String, JsonValue> answer = get(place, NO_VERSION)
                        .orElseThrow(() -> RegistryException.permanent(
                                asked(place) + " does not have what the schema at " + path + " refers to.", null));
                collect(path, answer, found, depth + 1);
                found.put(place, text(place, answer));
            }
        }
    }

    /** The path of the subject and version that a reference names. */
    private String place(String path, JsonValue reference) throws RegistryException {
        if (reference instanceof JsonValue.Members members
                && members.byName().get("subject") instanceof JsonValue.Text subject
                && members.byName().get("version") instanceof JsonValue.WholeNumber version) {
            String quoted =
                    URLEncoder.encode(subject.value(), StandardCharsets.UTF_8).replace("+", "%20");
            return "/subjects/" + quoted + "/versions/" + version.digits();
        }
        throw RegistryException.permanent(asked(path) + " gives a reference without subject and version.", null);
    }

    private Optional<Map<String, JsonValue>> get(String path, Set<String> none) throws RegistryException {
        HttpRequest.Builder request =
                HttpRequest.newBuilder(URI.create(access.url() + path)).header("Accept", ACCEPT);
        if (!access.authorization().isEmpty()) {
            request.header("Authorization", access.authorization());
        }
        return content(path, answer(path, request.build()), none);
    }

    /** Returns the whole answer in time: the limit that a request can have itself ends with the answer's first line. */
    private HttpResponse<String> answer(String path, HttpRequest request) throws RegistryException {
        CompletableFuture<HttpResponse<String>> answer =
                client.sendAsync(request, HttpResponse.BodyHandlers.ofString());
        try {
            return answer.get(timeout.toMillis(), TimeUnit.MILLISECONDS);
        } catch (TimeoutException error) {
            answer.cancel(true);
            throw silent(path, "not within " + timeout.toSeconds() + " s", error);
        } catch (ExecutionException error) {
            throw failure(path, error.getCause());
        } catch (InterruptedException interrupted) {
            answer.cancel(true);
            Thread.currentThread().interrupt();
            throw RegistryException.passing(asked(path) + " was not waited for.", interrupted);
        }
    }

    private RegistryException failure(String path, Throwable error) {
        if (error instanceof SSLHandshakeException) {
            return RegistryException.permanent(
                    asked(path) + " has a certificate that is not accepted (" + error.getMessage()
                            + "). schema.registry.ca.file must name the certificate of the authority that signed it.",
                    error);
        }
        if (error instanceof IOException) {
            return silent(path, error.toString(), error);
        }
        throw new IllegalStateException(error);
    }

    private RegistryException silent(String path, String why, Throwable error) {
        return RegistryException.passing(
                asked(path) + " does not answer (" + why + "). Is it running? Its address is schema.registry.url.",
                error);
    }

    private Optional<Map<String, JsonValue>> content(String path, HttpResponse<String> answer, Set<String> none)
            throws RegistryException {
        int status = answer.statusCode();
        Map<String, JsonValue> content = JsonReader.document(answer.body())
                .map(found -> found instanceof JsonValue.Members members ? members.byName() : null)
                .orElse(null);
        if (status == OK && content != null) {
            return Optional.of(content);
        }
        if (status == NOT_FOUND
                && content != null
                && content.get("error_code") instanceof JsonValue.WholeNumber code
                && none.contains(code.digits())) {
            return Optional.empty();
        }
        throw refusal(path, status, answer.body().replaceAll("[^ -~]", " "));
    }

    private RegistryException refusal(String path, int status, String body) {
        String said = status + ", " + body.substring(0, Math.min(body.length(), SHOWN));
        if (status >= SERVER_ERROR || BUSY.contains(status)) {
            return RegistryException.passing(asked(path) + " cannot answer now: " + said, null);
        }
        if (status == UNAUTHORIZED || status == FORBIDDEN) {
            return RegistryException.permanent(
                    asked(path) + " refuses the request: " + said
                            + " Credentials are schema.registry.username and .password, or .token; they need the right"
                            + " to read schemas.",
                    null);
        }
        return RegistryException.permanent(
                asked(path) + " answers " + said + " Is schema.registry.url the address of a registry, with its path?"
                        + " GUIDs need one that knows them.",
                null);
    }

    private String text(String path, Map<String, JsonValue> answer) throws RegistryException {
        if (answer.get("schema") instanceof JsonValue.Text schema) {
            return schema.value();
        }
        throw RegistryException.permanent(
                "The schema registry at " + access.url() + " answers " + path + " without a schema.", null);
    }

    private String asked(String path) {
        return "The schema registry at " + access.url() + ", asked for " + path + ",";
    }
}
