"""What can go wrong with Elasticsearch: one tree of errors, whichever client talks to it.

    ElasticsearchError
    ├── ElasticsearchUnavailable   passing: no answer, overloaded, or not all shards
    ├── IndexBlocked               passing: does not accept writes (disk full, or a rebuild)
    ├── VersionConflict            passing: a document has a newer version than the one to be written
    ├── IndexMissing               permanent: what the request names does not exist
    ├── IndexClosed                permanent: an operator closed the index
    ├── AlreadyThere               permanent: what was to be created exists
    ├── CertificateRefused         permanent: client and server do not trust each other
    └── ElasticsearchRefused       permanent: permission, mapping, or a request it does not understand

The Python client and Spark's connector report the same error types in different wrappings; both are classified here, by
the server's status and error type, never by words that may quote a document.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.untrusted import on_one_line

_MESSAGE_LIMIT = 300
_CUT_OFF = (
    "eof occurred",
    "unexpected_eof",
    "unexpected eof",
    "reset",
    "broken pipe",
    "timed out",
    "terminated the handshake",
)
"""How OpenSSL and Java report a connection that ended during the handshake, as while a server restarts."""


class ElasticsearchError(DatacoError):
    """Elasticsearch did not do what was requested."""


class ElasticsearchUnavailable(ElasticsearchError):
    """Elasticsearch does not answer, or is overloaded; trying again later may help."""

    kind = ErrorKind.PASSING


class IndexBlocked(ElasticsearchError):
    """An index does not accept writes: its disk is full, or a rebuild blocks writes."""

    kind = ErrorKind.PASSING


class VersionConflict(ElasticsearchError):
    """A document in the index has a newer version than the one to be written."""

    kind = ErrorKind.PASSING


class IndexMissing(ElasticsearchError):
    """What the request names does not exist."""


class IndexClosed(ElasticsearchError):
    """An index is closed: it can be neither searched nor written."""


class AlreadyThere(ElasticsearchError):
    """What was to be created exists."""


class CertificateRefused(ElasticsearchError):
    """The server's certificate is not accepted here, or there is no TLS at its port."""


class ElasticsearchRefused(ElasticsearchError):
    """Elasticsearch refuses the request, and would refuse it again."""


def failure(address: str, status: int, cause: Mapping[str, Any]) -> ElasticsearchError:
    """The error that a reply of Elasticsearch, or one of its bulk items, stands for.

    Args:
        address: The server's URL without credentials.
        status: HTTP status; 0 when it is not known, as with the reports of Spark's connector.
        cause: Elasticsearch's own error: `type`, `reason`, and where present `index`, `caused_by`, `root_cause`.
    """
    root = _root(cause)
    types = {str(cause.get("type", "")), str(root.get("type", ""))}
    reason = shortened(_reason(cause))
    kind = shortened(str(cause.get("type", "")))
    rule = next(rule for rule in _RULES if rule.applies(status, types, reason))
    words = {
        "code": status or kind,
        "index": cause.get("index") or root.get("index") or "an index",
        "reported": f"{kind}: {reason}" if reason else kind,
    }
    return rule.error(f"Elasticsearch at {address} {rule.text.format(**words)}")


def unavailable(address: str, why: str) -> ElasticsearchUnavailable:
    """The error of a server that does not answer.

    Args:
        address: Its URL without credentials.
        why: What the network reported.
    """
    return ElasticsearchUnavailable(
        f"Elasticsearch at {address} does not answer ({shortened(why)}). Is it running? Its address is "
        "DATACO_ELASTICSEARCH_URL."
    )


def handshake_failure(address: str, why: str) -> ElasticsearchError:
    """The error of a TLS connection that could not be established.

    Args:
        address: The server's URL without credentials.
        why: What OpenSSL or Java reported.
    """
    if any(words in why.lower() for words in _CUT_OFF):
        return unavailable(address, why)
    return CertificateRefused(
        f"Elasticsearch at {address} and this machine do not trust each other (TLS: {shortened(why)}). "
        "DATACO_ELASTICSEARCH_CA_FILE must name the certificate (PEM) of the authority that signed the server's; if it "
        "is empty, Python and Java must both know that authority. The server's certificate must be valid now, and for "
        "the host in DATACO_ELASTICSEARCH_URL."
    )


def shortened(text: str) -> str:
    """Text of a server's reply, which may quote event text, on one line: bounded, and printable only."""
    return on_one_line(text, _MESSAGE_LIMIT)


@dataclass(frozen=True)
class _Rule:
    """The replies an error stands for, by error type or HTTP status, and by fixed words of the server's reason."""

    error: type[ElasticsearchError]
    text: str
    types: frozenset[str] = frozenset()
    statuses: frozenset[int] = frozenset()
    reasons: tuple[str, ...] = ("",)

    def applies(self, status: int, types: set[str], reason: str) -> bool:
        matches = bool(self.types & types) or status in self.statuses or not (self.types or self.statuses)
        return matches and any(words in reason for words in self.reasons)


_BLOCK = frozenset({"cluster_block_exception"})
_RULES = (
    # The whole cluster is blocked while it has no master or has not recovered its state: that passes by itself.
    _Rule(ElasticsearchUnavailable, "is starting: {reported}", _BLOCK, reasons=("SERVICE_UNAVAILABLE",)),
    _Rule(
        IndexBlocked,
        "does not accept writes: its disk is full; free space there (the block then disappears by itself) or add a "
        "node. It reports: {reported}",
        _BLOCK,
        reasons=("disk usage exceeded", "read-only-allow-delete"),
    ),
    _Rule(
        IndexBlocked,
        "does not accept writes: writes are blocked, as `dataco index rebuild` does for a moment. If no rebuild is "
        "running, `dataco index rebuild --restart` cleans up. It reports: {reported}",
        _BLOCK,
    ),
    _Rule(
        VersionConflict,
        "holds a newer version of a document: {reported}",
        frozenset({"version_conflict_engine_exception"}),
    ),
    _Rule(
        IndexClosed,
        "can neither search nor write {index}: it is closed. `POST /INDEX/_open` opens it again.",
        frozenset({"index_closed_exception"}),
    ),
    _Rule(
        ElasticsearchUnavailable,
        "is unavailable or overloaded ({code}): {reported}",
        frozenset({"es_rejected_execution_exception", "circuit_breaking_exception", "master_not_discovered_exception"}),
        frozenset({429, 502, 503, 504}),
    ),
    _Rule(
        ElasticsearchRefused,
        "refuses the user ({code}): {reported}. See DATACO_ELASTICSEARCH_USERNAME and DATACO_ELASTICSEARCH_PASSWORD.",
        frozenset({"security_exception"}),
        frozenset({401, 403}),
    ),
    _Rule(
        IndexMissing,
        "does not have it: {reported}. `dataco setup` creates what is missing.",
        frozenset({"index_not_found_exception"}),
        frozenset({404}),
    ),
    _Rule(AlreadyThere, "has it already: {reported}", frozenset({"resource_already_exists_exception"})),
    _Rule(
        ElasticsearchRefused,
        "refuses a document ({code}): {reported}. If the index has another version's layout, `dataco index rebuild` "
        "replaces it.",
        frozenset({"strict_dynamic_mapping_exception", "mapper_parsing_exception", "document_parsing_exception"}),
    ),
    _Rule(ElasticsearchRefused, "refuses the request ({code}): {reported}"),
)
"""The first that applies counts; the last always does."""


def _root(cause: Mapping[str, Any]) -> Mapping[str, Any]:
    causes = cause.get("root_cause")
    first = causes[0] if isinstance(causes, Sequence) and causes else None
    return first if isinstance(first, Mapping) else {}


def _reason(cause: Mapping[str, Any]) -> str:
    """The innermost reason there is: the outer one often is no more than `all shards failed`."""
    inner, root = cause.get("caused_by"), _root(cause)
    if isinstance(inner, Mapping) and inner.get("reason"):
        return f"{cause.get('reason', '')} ({inner.get('type', '')}: {_reason(inner)})"
    if root.get("reason") and root is not cause:
        return str(root["reason"])
    return str(cause.get("reason", ""))
