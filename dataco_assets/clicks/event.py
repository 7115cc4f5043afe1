"""The contract of a click: decodes the bytes of a Kafka record into a click, or returns the reason why it is none.

Every rule on the fields and the names of the reasons are here; how a page is made is in `page`.

The first broken rule is the reason, in this order: tombstone, size, JSON, object; then shape (field after field:
missing, type, length); then control characters; then form, field after field. docs/clicks.md has the rules with their
reasons.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from socket import AF_INET, AF_INET6, inet_pton
from string import ascii_uppercase
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

from dataco_assets.clicks.page import InvalidUrl, page_of, referring_host

MAX_PAYLOAD_BYTES = 1_048_576
MAX_DEPTH = 100
"""Maximum nesting depth of objects and lists, including the top-level object."""
MAX_USER_ID = 256
MAX_URL = 8_192
MAX_USER_AGENT = 2_048
MAX_EVENT_ID = 128
MAX_OPTIONAL = 256
MAX_TIMESTAMP_MS = 9_999_999_999_999
"""The largest timestamp with 13 digits, as many as the row key holds: 20 November 2286."""
MAX_AHEAD_MS = 5 * 60_000
"""Maximum lead of a click's timestamp over its Kafka record time."""
UNKNOWN_COUNTRY = "ZZ"

_MAX_DETAIL = 200
_MAX_SHOWN = 60


class Reason(StrEnum):
    """Why a click was rejected. The values are in Kafka headers and dashboards: never rename one."""

    TOMBSTONE = "tombstone"
    TOO_LARGE = "too_large"
    INCOMPLETE_HEADER = "incomplete_header"
    UNKNOWN_SCHEMA = "unknown_schema"
    UNSUITABLE_SCHEMA = "unsuitable_schema"
    MALFORMED_AVRO = "malformed_avro"
    MALFORMED_JSON = "malformed_json"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    CONTROL_CHARACTER = "control_character"
    WRONG_LENGTH = "wrong_length"
    INVALID_TIMESTAMP = "invalid_timestamp"
    TIMESTAMP_IN_FUTURE = "timestamp_in_future"
    BEFORE_FIRST_PARTITION = "before_first_partition"
    INVALID_URL = "invalid_url"
    INVALID_IP_ADDRESS = "invalid_ip_address"
    INVALID_COUNTRY = "invalid_country"
    REFUSED_BY_STORE = "refused_by_store"
    """Only set by the writer: HBase refuses this row and accepts its neighbours."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a click is not stored.

    Attributes:
        reason: The rule it breaks.
        detail: What was found, for a person: at most 200 printable ASCII characters whatever it is made from, so that
            it is safe in a header, a log and a terminal.
    """

    reason: Reason
    detail: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", _printable(self.detail))


class Click(msgspec.Struct, frozen=True, gc=False):
    """A valid click.

    Attributes:
        event_id: The producer's id, or the one derived from the five required fields.
        user_id: Opaque id of the visitor.
        timestamp: When it happened, epoch ms, UTC.
        url: As sent.
        page: The URL in the form clicks are grouped by.
        ip_address: As sent.
        user_agent: As sent; may be empty.
        country: ISO 3166-1 alpha-2; `ZZ` when unknown.
        city: None when unknown, like the next three.
        browser: Name of the browser.
        operating_system: Name of the operating system.
        device: Kind or model of the device.
        referrer: As sent; None when there is none.
        referrer_host: Host of the other site that led here (`page.referring_host`); empty when none did.
    """

    event_id: str
    user_id: str
    timestamp: int
    url: str
    page: str
    ip_address: str
    user_agent: str
    country: str
    city: str | None
    browser: str | None
    operating_system: str | None
    device: str | None
    referrer: str | None = None
    referrer_host: str = ""


def parse(payload: bytes | None, *, record_time_ms: int, earliest_ms: int) -> Click | Rejection:
    """Decodes and validates one record of the clicks topic; never raises, whatever the bytes.

    Args:
        payload: The record's value; None is a tombstone.
        record_time_ms: The record's Kafka timestamp, epoch ms.
        earliest_ms: Start of the first partition, epoch ms; older clicks are rejected.
    """
    try:
        fields = _decode(payload)
        return validate(fields, record_time_ms=record_time_ms, earliest_ms=earliest_ms)
    except Broken as broken:
        return Rejection(broken.reason, broken.detail)


class _Owned(msgspec.Struct):
    user_id: str | int


def readable_user_id(payload: bytes | None) -> str | None:
    """The user id in a JSON payload, which need not be a valid click; None without a readable one."""
    try:
        return str(msgspec.json.decode(payload or b"", type=_Owned).user_id)
    except (msgspec.MsgspecError, UnicodeError):
        return None


class Broken(Exception):
    """A broken rule; raised and caught inside this package."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)

_UserId = Annotated[str, Meta(min_length=1, max_length=MAX_USER_ID)]
_Milliseconds = Annotated[int, Meta(extra_json_schema={"minimum": 0, "maximum": MAX_TIMESTAMP_MS})]
_IsoTime = Annotated[str, Meta(extra_json_schema={"pattern": f"^{_ISO.pattern}$"})]
_Url = Annotated[str, Meta(min_length=1, max_length=MAX_URL, extra_json_schema={"pattern": "^[Hh][Tt]{2}[Pp][Ss]?://"})]
_IpAddress = Annotated[str, Meta(extra_json_schema={"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]})]
_UserAgent = Annotated[str, Meta(max_length=MAX_USER_AGENT)]
_EventId = Annotated[str, Meta(max_length=MAX_EVENT_ID)]
_Country = Annotated[str, Meta(extra_json_schema={"pattern": "^([A-Z]{2})?$"})]
_Referrer = Annotated[str, Meta(max_length=MAX_URL)]
_Optional = Annotated[str, Meta(max_length=MAX_OPTIONAL)]
_UNKNOWN = Meta(description="absent or empty: unknown")


class Fields(msgspec.Struct, gc=False):
    """The known fields as sent, right in type and length. Their order is that in which broken rules are reported.

    Types, lengths and descriptions here are the one source of the contract's schemas and of its table in
    docs/clicks.md (`contract.py`). What only the JSON Schema uses (`extra_json_schema`) decides nothing: the form of a
    field is judged by `validate`.
    """

    user_id: Annotated[_UserId, Meta(description="opaque: not trimmed, not normalised")]
    timestamp: Annotated[_Milliseconds | _IsoTime, Meta(description="0 to 9,999,999,999,999 ms")]
    url: Annotated[_Url, Meta(description='an absolute http or https URL ("Page")')]
    ip_address: Annotated[_IpAddress, Meta(description="an IPv4 or IPv6 address; stored as sent")]
    user_agent: Annotated[_UserAgent, Meta(description="as the browser sent it")]
    event_id: Annotated[
        _EventId | None,
        Meta(description="unique among the clicks of a user in a millisecond; absent or empty: derived (below)"),
    ] = None
    country: Annotated[_Country | None, Meta(description="two letters `A` to `Z`; absent or empty: `ZZ`")] = None
    city: Annotated[_Optional | None, _UNKNOWN] = None
    browser: Annotated[_Optional | None, _UNKNOWN] = None
    operating_system: Annotated[_Optional | None, _UNKNOWN] = None
    device: Annotated[_Optional | None, _UNKNOWN] = None
    referrer: Annotated[
        _Referrer | None,
        Meta(description='as the browser sent it ("Referrer"); absent or empty: none', extra={"since": 2}),
    ] = None


_NULL = msgspec.Raw(b"null")


class _RawFields(msgspec.Struct, gc=False):
    """The same fields, undecoded: used to find the reason when `Fields` cannot be decoded."""

    user_id: msgspec.Raw = _NULL
    timestamp: msgspec.Raw = _NULL
    url: msgspec.Raw = _NULL
    ip_address: msgspec.Raw = _NULL
    user_agent: msgspec.Raw = _NULL
    event_id: msgspec.Raw = _NULL
    country: msgspec.Raw = _NULL
    city: msgspec.Raw = _NULL
    browser: msgspec.Raw = _NULL
    operating_system: msgspec.Raw = _NULL
    device: msgspec.Raw = _NULL
    referrer: msgspec.Raw = _NULL


class _Positional(Fields, array_like=True, gc=False):
    """The same fields as a list of values."""


_FIELD_NAMES = Fields.__struct_fields__
_FIELD_TYPES = get_type_hints(Fields, include_extras=True)
_FIELD_DECODERS = {name: msgspec.json.Decoder(hint).decode for name, hint in _FIELD_TYPES.items()}
_convert = msgspec.convert
_decode_fields = msgspec.json.Decoder(Fields).decode
_decode_raw_fields = msgspec.json.Decoder(_RawFields).decode
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_LIST, _BACKSLASH, _DELETE = b"[\\\x7f"  # looking for a number in bytes is six times as fast as for a bytes of one


def _decode(payload: bytes | None) -> Fields:
    """Everything up to control characters: the rules on the payload as a whole."""
    payload = require_value(payload)
    try:
        if not payload.isascii():
            payload.decode()  # the JSON decoder does not look into fields it does not know
        if _LIST in payload or payload.rfind(b"{") > 0:
            refuse_depth(payload)
        try:
            fields = _decode_fields(payload)
        except msgspec.ValidationError:
            fields = _decode_slowly(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Broken(Reason.MALFORMED_JSON, str(error)) from None
    # A raw control character is malformed JSON already: it takes an escape to bring one in, save for DEL.
    if _BACKSLASH in payload or _DELETE in payload:
        refuse_control_characters(fields)
    return fields


def require_value(payload: bytes | None) -> bytes:
    """The payload, if there is one and it is not too large.

    Raises:
        Broken
    """
    if payload is None:
        raise Broken(Reason.TOMBSTONE, "the record has no value")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise Broken(Reason.TOO_LARGE, f"{len(payload)} bytes, at most {MAX_PAYLOAD_BYTES}")
    return payload


_AS_LISTS = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def refuse_depth(payload: bytes) -> None:
    """Enforces `MAX_DEPTH` on JSON, since a decoder's own limit depends on the depth of the caller's stack.

    Removes the innermost pairs of brackets `MAX_DEPTH` times; what is left is nested deeper, or unbalanced, which is
    malformed as well. Takes milliseconds for a megabyte of brackets.

    Raises:
        Broken
    """
    if payload.count(b"[") + payload.count(b"{") <= MAX_DEPTH:
        return
    unescaped = payload.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside_strings = b"".join(unescaped.split(b'"')[::2])
    brackets = outside_strings.translate(_AS_LISTS, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        before, brackets = brackets, brackets.replace(b"[]", b"")
        if len(brackets) == len(before):
            break
    if brackets:
        raise Broken(Reason.MALFORMED_JSON, f"more than {MAX_DEPTH} objects and lists inside each other, or unbalanced")


def _decode_slowly(payload: bytes) -> Fields:
    """Finds the field that the fast decoder refused.

    There may be none: it stops at the first of two equal keys, while the last one counts.
    """
    try:
        raw = _decode_raw_fields(payload)
    except msgspec.ValidationError:
        found = _type_of(bytes(_decode_raw(payload)).lstrip())
        raise Broken(Reason.NOT_AN_OBJECT, f"found {found}") from None
    return Fields(**{name: _decode_field(name, bytes(getattr(raw, name))) for name in _FIELD_NAMES})


def _decode_field(name: str, value: bytes) -> Any:
    """One field by the type and length that `Fields` gives it."""
    try:
        return _FIELD_DECODERS[name](value)
    except msgspec.ValidationError as error:
        found = _type_of(value)
        detail = f"{name}: {error}"
    if found == "null":
        raise Broken(Reason.MISSING_FIELD, f"{name} is missing or null")
    if found == "a string":
        raise Broken(Reason.WRONG_LENGTH, f"{detail}, got {_shown(msgspec.json.decode(value))}")
    if found == "an integer" and name == "timestamp":
        return value.decode()  # too long for the decoder; as a text it is refused when its turn comes, with the form
    raise Broken(Reason.WRONG_TYPE, detail)


def _type_of(value: bytes) -> str:
    """The type of a well-formed JSON value."""
    names = {b'"': "a string", b"{": "an object", b"[": "a list", b"t": "a boolean", b"f": "a boolean", b"n": "null"}
    number = "an integer" if value.lstrip(b"-").isdigit() else "a decimal number"
    return names.get(value[:1], number)


_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


def refuse_control_characters(fields: Fields) -> None:
    """Looks for control characters, field after field.

    Raises:
        Broken
    """
    for name in _FIELD_NAMES:
        value = getattr(fields, name)
        found = _CONTROL_CHARACTER.search(value) if isinstance(value, str) else None
        if found:
            raise Broken(Reason.CONTROL_CHARACTER, f"{name}: U+{ord(found[0]):04X} at character {found.start()}")


_COUNTRIES = frozenset(first + second for first in ascii_uppercase for second in ascii_uppercase)


def shaped(values: Sequence[Any]) -> Fields:
    """The known fields from their values, in the order of `Fields`; None is absent.

    Raises:
        Broken: one of them is missing, or has another type or length.
    """
    try:
        return _convert(values, _Positional)
    except msgspec.ValidationError:
        for name, value in zip(_FIELD_NAMES, values, strict=True):
            _refuse_shape(name, value)
        raise


def _refuse_shape(name: str, value: Any) -> None:
    try:
        msgspec.convert(value, _FIELD_TYPES[name])
    except msgspec.ValidationError as error:
        if value is None:
            raise Broken(Reason.MISSING_FIELD, f"{name} is missing or null") from None
        if isinstance(value, str):
            raise Broken(Reason.WRONG_LENGTH, f"{name}: {error}, got {_shown(value)}") from None
        raise Broken(Reason.WRONG_TYPE, f"{name}: {error}") from None


def validate(fields: Fields, *, record_time_ms: int, earliest_ms: int) -> Click:
    """Judges the form of each field, in the order of `Fields`.

    Raises:
        Broken
    """
    latest_ms = record_time_ms + MAX_AHEAD_MS
    user_id, url, ip_address, user_agent = fields.user_id, fields.url, fields.ip_address, fields.user_agent
    timestamp = _timestamp(fields.timestamp, latest_ms, earliest_ms)
    try:
        page = page_of(url)
    except InvalidUrl as error:
        raise Broken(Reason.INVALID_URL, f"url {error}: {_shown(url)}") from None
    try:
        inet_pton(AF_INET6 if ":" in ip_address else AF_INET, ip_address)
    except OSError:
        raise Broken(Reason.INVALID_IP_ADDRESS, f"ip_address: {_shown(ip_address)}") from None
    country = fields.country or UNKNOWN_COUNTRY
    if country not in _COUNTRIES:
        raise Broken(Reason.INVALID_COUNTRY, f"country: expected two letters A to Z, found {_shown(country)}")
    return Click(
        fields.event_id or derived_event_id(user_id, timestamp, url, ip_address, user_agent),
        user_id,
        timestamp,
        url,
        page,
        ip_address,
        user_agent,
        country,
        fields.city or None,
        fields.browser or None,
        fields.operating_system or None,
        fields.device or None,
        fields.referrer or None,
        referring_host(fields.referrer or "", page),
    )


def derived_event_id(user_id: str, timestamp: int, url: str, ip_address: str, user_agent: str) -> str:
    """The event id of a click that was sent without one: BLAKE2b-128 of its required fields, 32 hex digits.

    No field holds a control character, so joining them with U+001F cannot make two clicks one.
    """
    joined = f"{user_id}\x1f{timestamp}\x1f{url}\x1f{ip_address}\x1f{user_agent}"
    return blake2b(joined.encode(), digest_size=16).hexdigest()


def _timestamp(value: int | str, latest_ms: int, earliest_ms: int) -> int:
    timestamp = value if isinstance(value, int) else milliseconds(value)
    if not 0 <= timestamp <= MAX_TIMESTAMP_MS:
        raise Broken(Reason.INVALID_TIMESTAMP, f"timestamp: 0 to {MAX_TIMESTAMP_MS} ms, found {_shown(value)}")
    if timestamp > latest_ms:
        ahead = timestamp - latest_ms + MAX_AHEAD_MS
        detail = f"timestamp: {ahead} ms ahead of Kafka's, at most {MAX_AHEAD_MS}: {_shown(value)}"
        raise Broken(Reason.TIMESTAMP_IN_FUTURE, detail)
    if timestamp < earliest_ms:
        detail = f"timestamp: {earliest_ms - timestamp} ms before the first partition: {_shown(value)}"
        raise Broken(Reason.BEFORE_FIRST_PARTITION, detail)
    return timestamp


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def milliseconds(text: str) -> int:
    """Epoch ms of an ISO 8601 date, time and offset; a fraction is cut at the millisecond.

    Raises:
        Broken
    """
    if not _ISO.fullmatch(text):
        raise Broken(Reason.INVALID_TIMESTAMP, f"timestamp: not like 2015-05-17T10:05:03.000Z: {_shown(text)}")
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND
    except ValueError as error:
        raise Broken(Reason.INVALID_TIMESTAMP, f"timestamp: {error}: {_shown(text)}") from None


def _shown(value: int | str) -> str:
    """The start of a value, quoted and in ASCII, for a detail."""
    text = str(value)
    return ascii(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "...")


_NOT_PRINTABLE = re.compile(r"[^ -~]")


def _printable(text: str) -> str:
    """Printable ASCII, at most `_MAX_DETAIL` characters; the rest escaped or cut."""
    escaped = _NOT_PRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text[:_MAX_DETAIL])
    return escaped if len(escaped) <= _MAX_DETAIL and len(text) <= _MAX_DETAIL else escaped[: _MAX_DETAIL - 3] + "..."
