"""Elasticsearch: one client with deadlines, bounded retries of what is safe to repeat, and typed errors.

The only module that imports elasticsearch. Its errors are those of `dataco_assets.elasticsearch_errors`. None of them
is ever a result: a search that reaches only some of the shards fails.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from elastic_transport import ApiResponse, ConnectionTimeout, SerializationError, TlsError, TransportError
from elastic_transport.client_utils import DEFAULT
from elasticsearch import ApiError, Elasticsearch, UnsupportedProductError
from elasticsearch.helpers import streaming_bulk
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from dataco_assets.elasticsearch_errors import (
    ElasticsearchError,
    ElasticsearchRefused,
    ElasticsearchUnavailable,
    IndexMissing,
    failure,
    handshake_failure,
    unavailable,
)

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

T = TypeVar("T")
Hit = Mapping[str, Any]

REQUEST_SECONDS = 30.0
RETRY_SECONDS = 20.0
FIRST_CONTACT_SECONDS, FIRST_REQUEST_SECONDS = 1.5, 10.0
"""How long a person who typed a command waits for a server whose port refuses, before being told so."""
PAGE_DOCUMENTS = 2_000

_SAFE_METHODS = frozenset({"GET", "HEAD"})
# Searches change nothing; a refresh may be repeated; every write of this platform names its document and version.
_SAFE_ENDPOINTS = ("_search", "_bulk", "_refresh", "_pit", "_count", "_mget")
_BULK_DOCUMENTS, _BULK_BYTES, _BULK_RETRIES = 1_000, 5 * 1024 * 1024, 5
_PIT_KEEP_ALIVE = "2m"
_CONFLICT, _NOT_FOUND = 409, 404


@dataclass(frozen=True)
class BulkOutcome:
    """What became of bulk operations that did not fail.

    Attributes:
        done: Operations carried out.
        conflicts: Operations refused because the document's version is newer, or it changed meanwhile.
        missing: Deletions of documents that were not there.
    """

    done: int = 0
    conflicts: int = 0
    missing: int = 0


class SearchClient(Elasticsearch):
    """The official client, whose every error is one of this module's.

    Made by `open_client`, not directly.
    """

    retry_seconds: float = RETRY_SECONDS

    @property
    def address(self) -> str:
        """The server's URL, without user name and password."""
        return ", ".join(node.base_url for node in self.transport.node_pool.all())

    def options(self, **options: Any) -> "SearchClient":  # pyright: ignore[reportIncompatibleMethodOverride]
        """The same client with other transport options."""
        changed = super().options(**options)
        changed.retry_seconds = self.retry_seconds
        return changed

    def perform_request(self, method: str, path: str, **request: Any) -> ApiResponse[Any]:
        """Sends one request, again where that is safe and may help.

        Raises:
            ElasticsearchError: see the module.
        """

        def send() -> ApiResponse[Any]:
            return self._translated(lambda: super(SearchClient, self).perform_request(method, path, **request))

        if not (method in _SAFE_METHODS or path.endswith(_SAFE_ENDPOINTS)):
            return send()
        retrying = Retrying(
            retry=retry_if_exception_type(ElasticsearchUnavailable),
            wait=wait_exponential_jitter(multiplier=0.2, max=5.0, jitter=0.5),
            stop=stop_after_delay(self.retry_seconds),
            reraise=True,
        )
        return retrying(send)

    def _translated(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except (UnsupportedProductError, SerializationError) as error:
            raise ElasticsearchRefused(
                f"What answers at {self.address} is not Elasticsearch 8. Its address is DATACO_ELASTICSEARCH_URL."
            ) from error
        except ApiError as error:
            raise self._from_reply(error) from error
        except TlsError as error:
            raise handshake_failure(self.address, str(error.message)) from error
        except TransportError as error:
            why = "no answer in time" if isinstance(error, ConnectionTimeout) else str(error.message)
            raise unavailable(self.address, why) from error

    def _from_reply(self, error: ApiError) -> ElasticsearchError:
        body = error.body if isinstance(error.body, Mapping) else {}
        cause = body.get("error")
        cause = cause if isinstance(cause, Mapping) else {"type": str(error.message), "reason": str(cause or "")}
        return failure(self.address, error.status_code, cause)


def connect(
    settings: "Settings", *, request_seconds: float = REQUEST_SECONDS, retry_seconds: float = RETRY_SECONDS
) -> SearchClient:
    """The client that the settings describe; nothing is sent yet.

    Args:
        settings: Address and user.
        request_seconds: As `open_client`.
        retry_seconds: As `open_client`.
    """
    return open_client(
        settings.elasticsearch_url,
        username=settings.elasticsearch_username,
        password=settings.elasticsearch_password.get_secret_value(),
        ca_file=settings.elasticsearch_ca_file,
        request_seconds=request_seconds,
        retry_seconds=retry_seconds,
    )


def connect_at_once(settings: "Settings", *, patience_seconds: float = FIRST_CONTACT_SECONDS) -> SearchClient:
    """The client that the settings describe, of a server that answers now: for a person who waits at a terminal.

    Once there was an answer, requests are retried as long as those of a run.

    Args:
        settings: Address and user.
        patience_seconds: How long a refused connection is tried again.

    Raises:
        ElasticsearchUnavailable: nothing answers.
    """
    client = connect(settings)
    first = client.options(request_timeout=FIRST_REQUEST_SECONDS)
    first.retry_seconds = patience_seconds
    with suppress(ElasticsearchRefused, IndexMissing):  # a refusal is an answer; what it is about comes up again
        first.perform_request("HEAD", "/", headers={"accept": "application/json"})
    return client


def open_client(
    url: str,
    *,
    username: str = "",
    password: str = "",
    ca_file: str = "",
    request_seconds: float = REQUEST_SECONDS,
    retry_seconds: float = RETRY_SECONDS,
) -> SearchClient:
    """A client; nothing is sent yet.

    Args:
        url: `http(s)://host:port`.
        username: Empty: no authentication.
        password: Password of that user.
        ca_file: PEM file of the authorities to trust; empty: those that the machine knows.
        request_seconds: Most one request may take.
        retry_seconds: How long a request that may be repeated is tried again, with exponential back-off and jitter.
    """
    client = SearchClient(
        url,
        basic_auth=(username, password) if username else None,
        ca_certs=ca_file or DEFAULT,
        request_timeout=request_seconds,
        # The transport would repeat at once and whatever the request; `perform_request` knows better.
        max_retries=0,
        retry_on_timeout=False,
    )
    client.retry_seconds = retry_seconds
    return client


def bulk(client: SearchClient, operations: Iterable[dict[str, Any]]) -> BulkOutcome:
    """Writes and deletes documents; the caller names ids and versions, so that repeating is harmless.

    Args:
        client: The client.
        operations: As `elasticsearch.helpers` takes them: `_op_type`, `_index`, `_id`, …

    Raises:
        ElasticsearchError: an operation failed for another reason than a conflict or a missing document; those before
            it, and some behind it, may have been carried out.
    """
    done = conflicts = missing = 0
    results = streaming_bulk(
        client,
        operations,
        chunk_size=_BULK_DOCUMENTS,
        max_chunk_bytes=_BULK_BYTES,
        raise_on_error=False,  # otherwise items refused for overload (429) would not be tried again
        max_retries=_BULK_RETRIES,
        initial_backoff=0.2,
        max_backoff=5,
    )
    for succeeded, result in results:
        ((operation, item),) = result.items()
        status = int(item.get("status", 0))
        if succeeded:
            done += 1
        elif status == _CONFLICT:
            conflicts += 1
        elif operation == "delete" and status == _NOT_FOUND and "error" not in item:
            missing += 1
        else:
            cause = item.get("error")
            raise failure(client.address, status, cause if isinstance(cause, Mapping) else {"type": str(cause)})
    return BulkOutcome(done, conflicts, missing)


def search(client: SearchClient, indices: Sequence[str], **request: Any) -> Mapping[str, Any]:
    """One search that reaches every shard or fails.

    Raises:
        ElasticsearchError: see the module.
    """
    reply = client.search(index=list(indices), allow_partial_search_results=False, **request)
    return _complete(client, reply.body)


def documents_by_id(client: SearchClient, index: str, ids: Sequence[str]) -> dict[str, Hit]:
    """Those of some documents that exist, by id, each with `_source` and `_version`; also what no search finds yet.

    Args:
        client: The client.
        index: Name of the index.
        ids: The documents.

    Raises:
        ElasticsearchError: see the module.
    """
    if not ids:
        return {}
    found = client.mget(index=index, ids=list(ids)).body["docs"]
    for each in found:
        if "error" in each:
            raise failure(client.address, 0, each["error"])
    return {each["_id"]: each for each in found if each["found"]}


def scan_documents(
    client: SearchClient,
    indices: Sequence[str],
    query: Mapping[str, Any],
    *,
    source: bool = False,
    fields: Sequence[Mapping[str, str]] = (),
    sort: Sequence[Mapping[str, str]] = (),
    page_documents: int = PAGE_DOCUMENTS,
) -> Iterator[Hit]:
    """Streams all documents that match, as they were when the first was asked for.

    Each hit has `_index`, `_id`, `_version`, `_seq_no`, `_primary_term` and, if asked for, `_source` and `fields`.

    Args:
        client: The client.
        indices: Names of the indices; none: no hit.
        query: The query.
        source: Whether to bring the documents along.
        fields: Single fields to bring along, with the format wanted.
        sort: The order they come in; none: the quickest.
        page_documents: Documents per request; bounds the memory held.
    """
    if not indices:
        return
    pit = client.open_point_in_time(index=list(indices), keep_alive=_PIT_KEEP_ALIVE)["id"]
    after: Sequence[Any] | None = None
    try:
        while True:
            reply = client.search(
                pit={"id": pit, "keep_alive": _PIT_KEEP_ALIVE},
                query=query,
                source=source,
                fields=list(fields) or None,
                version=True,
                seq_no_primary_term=True,
                sort=[*sort, {"_shard_doc": "asc"}],
                search_after=list(after) if after is not None else None,
                size=page_documents,
                track_total_hits=False,
                allow_partial_search_results=False,
            )
            hits = _complete(client, reply.body)["hits"]["hits"]
            yield from hits
            if len(hits) < page_documents:
                return
            pit, after = reply["pit_id"], hits[-1]["sort"]
    finally:
        closing = client.options()
        closing.retry_seconds = 0
        with suppress(ElasticsearchError):  # it expires by itself; what went wrong before is what matters
            closing.close_point_in_time(id=pit)


def refresh(client: SearchClient, indices: Sequence[str]) -> None:
    """Makes everything written so far visible to searches.

    Raises:
        ElasticsearchError: see the module.
    """
    if indices:
        _complete(client, client.indices.refresh(index=list(indices)).body)


def count(client: SearchClient, indices: Sequence[str]) -> int:
    """Number of documents that searches see.

    Raises:
        ElasticsearchError: see the module.
    """
    return int(search(client, indices, size=0, track_total_hits=True)["hits"]["total"]["value"])


def _complete(client: SearchClient, reply: Mapping[str, Any]) -> Mapping[str, Any]:
    shards = reply["_shards"]
    if reply.get("timed_out") or shards["failed"]:
        raise ElasticsearchUnavailable(
            f"Elasticsearch at {client.address} searched only {shards['successful']} of {shards['total']} shards."
        )
    return reply
