package dataco.clicks;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * A strict reader of JSON, as RFC 8259 has it: of the members of one object, or of a whole document.
 *
 * <p>It is written out here because the verdict on a payload must be the one that every other sink gives, and JSON
 * libraries differ in exactly what the contract settles: byte order marks, UTF-16, lone surrogates, limits on numbers,
 * names and nesting. It checks the whole payload, also inside fields that nobody asked for.
 */
public final class JsonReader {
    /** Maximum nesting depth of objects and lists, including the top-level object. */
    static final int MAX_DEPTH = 100;

    private static final char REPLACEMENT = '\uFFFD';
    private static final int HEX = 16;
    private static final int ESCAPE_DIGITS = 4;
    private static final char END = '\0'; // no token begins with it

    private final String text;
    private final boolean keeping;
    private int position;
    private int depth;

    private JsonReader(String text, boolean keeping) {
        this.text = text;
        this.keeping = keeping;
    }

    /** Returns a document with all that its objects and lists hold; empty when it is not well-formed. */
    public static Optional<JsonValue> document(String json) {
        JsonReader reader = new JsonReader(json, true);
        try {
            reader.skipWhiteSpace();
            JsonValue found = reader.value();
            reader.requireEnd();
            return Optional.of(found);
        } catch (BrokenRuleException broken) {
            return Optional.empty();
        }
    }

    /**
     * Reads an object and returns those of its members that have one of the given names. Of equal names the last counts.
     *
     * @throws BrokenRuleException the payload is not well-formed, or no object
     */
    static Map<String, JsonValue> members(byte[] payload, Set<String> names) throws BrokenRuleException {
        JsonReader reader = new JsonReader(decoded(payload), false);
        Map<String, JsonValue> members = new HashMap<>();
        reader.skipWhiteSpace();
        JsonValue found = reader.peek() == '{' ? reader.object(names, members) : reader.value();
        reader.requireEnd();
        if (found != JsonValue.Other.OBJECT) {
            throw new BrokenRuleException(Reason.NOT_AN_OBJECT, "found " + found.type());
        }
        return members;
    }

    private void requireEnd() throws BrokenRuleException {
        skipWhiteSpace();
        if (position < text.length()) {
            throw malformed("text behind the value");
        }
    }

    /** The payload as text. Decoding leniently first is several times as fast, and finds nearly all payloads sound. */
    private static String decoded(byte[] payload) throws BrokenRuleException {
        String text = new String(payload, StandardCharsets.UTF_8);
        if (text.indexOf(REPLACEMENT) < 0) {
            return text;
        }
        try {
            return StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(payload))
                    .toString();
        } catch (CharacterCodingException error) {
            throw new BrokenRuleException(Reason.MALFORMED_JSON, "not UTF-8: " + error.getMessage());
        }
    }

    private JsonValue value() throws BrokenRuleException {
        char first = peek();
        return switch (first) {
            case '"' -> new JsonValue.Text(string());
            case '{' -> keeping ? members() : object(Set.of(), Map.of());
            case '[' -> list();
            case 't' -> literal("true", JsonValue.Other.BOOLEAN);
            case 'f' -> literal("false", JsonValue.Other.BOOLEAN);
            case 'n' -> literal("null", JsonValue.Other.NULL);
            default -> {
                if (first == '-' || isDigit(first)) {
                    yield number();
                }
                throw malformed("no value");
            }
        };
    }

    private JsonValue members() throws BrokenRuleException {
        Map<String, JsonValue> members = new HashMap<>();
        object(null, members);
        return new JsonValue.Members(members);
    }

    /** Reads an object and adds its members; those of the given names, or all when no names are given. */
    private JsonValue object(Set<String> names, Map<String, JsonValue> members) throws BrokenRuleException {
        descend();
        skipWhiteSpace();
        if (!skip('}')) {
            do {
                skipWhiteSpace();
                member(names, members);
                skipWhiteSpace();
            } while (skip(','));
            expect('}');
        }
        depth--;
        return JsonValue.Other.OBJECT;
    }

    private void member(Set<String> names, Map<String, JsonValue> members) throws BrokenRuleException {
        if (peek() != '"') {
            throw malformed("no name");
        }
        String name = string();
        skipWhiteSpace();
        expect(':');
        skipWhiteSpace();
        JsonValue found = value();
        if (names == null || names.contains(name)) {
            members.put(name, found);
        }
    }

    private JsonValue list() throws BrokenRuleException {
        List<JsonValue> items = new ArrayList<>(0);
        descend();
        skipWhiteSpace();
        if (!skip(']')) {
            do {
                skipWhiteSpace();
                JsonValue item = value();
                if (keeping) {
                    items.add(item);
                }
                skipWhiteSpace();
            } while (skip(','));
            expect(']');
        }
        depth--;
        return keeping ? new JsonValue.Items(items) : JsonValue.Other.LIST;
    }

    /** Steps over an opening bracket. */
    private void descend() throws BrokenRuleException {
        position++;
        depth++;
        if (depth > MAX_DEPTH) {
            throw malformed("more than " + MAX_DEPTH + " objects and lists inside each other");
        }
    }

    private JsonValue literal(String literal, JsonValue meaning) throws BrokenRuleException {
        if (!text.startsWith(literal, position)) {
            throw malformed("no value");
        }
        position += literal.length();
        return meaning;
    }

    private JsonValue number() throws BrokenRuleException {
        int start = position;
        skip('-');
        if (!skip('0')) {
            digits();
        }
        boolean whole = true;
        if (skip('.')) {
            digits();
            whole = false;
        }
        if (skip('e') || skip('E')) {
            if (!skip('+')) {
                skip('-');
            }
            digits();
            whole = false;
        }
        return whole ? new JsonValue.WholeNumber(text.substring(start, position)) : JsonValue.Other.DECIMAL_NUMBER;
    }

    /** At least one digit. */
    private void digits() throws BrokenRuleException {
        if (!isDigit(peek())) {
            throw malformed("a number without digits");
        }
        while (isDigit(peek())) {
            position++;
        }
    }

    private String string() throws BrokenRuleException {
        position++;
        StringBuilder resolved = new StringBuilder(0);
        int start = position;
        for (char c = next(); c != '"'; c = next()) {
            if (c < ' ') {
                throw malformed("a control character in a string");
            }
            if (c == '\\') {
                resolved.append(text, start, position - 1);
                escape(resolved);
                start = position;
            }
        }
        if (resolved.isEmpty()) {
            return text.substring(start, position - 1);
        }
        return resolved.append(text, start, position - 1).toString();
    }

    /** Resolves what follows a backslash. */
    private void escape(StringBuilder resolved) throws BrokenRuleException {
        char c = next();
        switch (c) {
            case '"', '\\', '/' -> resolved.append(c);
            case 'b' -> resolved.append('\b');
            case 'f' -> resolved.append('\f');
            case 'n' -> resolved.append('\n');
            case 'r' -> resolved.append('\r');
            case 't' -> resolved.append('\t');
            case 'u' -> unicodeEscape(resolved);
            default -> throw malformed("an unknown escape");
        }
    }

    private void unicodeEscape(StringBuilder resolved) throws BrokenRuleException {
        char unit = codeUnit();
        if (Character.isHighSurrogate(unit) && skip('\\') && skip('u')) {
            char low = codeUnit();
            if (Character.isLowSurrogate(low)) {
                resolved.append(unit).append(low);
                return;
            }
        }
        if (Character.isSurrogate(unit)) {
            throw malformed("a lone surrogate");
        }
        resolved.append(unit);
    }

    private char codeUnit() throws BrokenRuleException {
        int unit = 0;
        for (int i = 0; i < ESCAPE_DIGITS; i++) {
            char c = next();
            if (!HexFormat.isHexDigit(c)) {
                throw malformed("an escape without four hex digits");
            }
            unit = unit * HEX + HexFormat.fromHexDigit(c);
        }
        return (char) unit;
    }

    private void skipWhiteSpace() {
        while (position < text.length() && isWhiteSpace(text.charAt(position))) {
            position++;
        }
    }

    private boolean skip(char expected) {
        if (position < text.length() && text.charAt(position) == expected) {
            position++;
            return true;
        }
        return false;
    }

    private void expect(char expected) throws BrokenRuleException {
        if (!skip(expected)) {
            throw malformed("no '" + expected + "'");
        }
    }

    private char peek() {
        return position < text.length() ? text.charAt(position) : END;
    }

    private char next() throws BrokenRuleException {
        if (position == text.length()) {
            throw malformed("an unfinished string");
        }
        return text.charAt(position++);
    }

    private BrokenRuleException malformed(String found) {
        return new BrokenRuleException(Reason.MALFORMED_JSON, found + " at character " + position);
    }

    private static boolean isDigit(char c) {
        return c >= '0' && c <= '9';
    }

    private static boolean isWhiteSpace(char c) {
        return c == ' ' || c == '\n' || c == '\r' || c == '\t';
    }
}
