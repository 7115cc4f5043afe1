"""The schema registry: the schemas of Avro records by id or GUID, over the REST API that Confluent's defined.

RegistryFailure            anything else that it answers                       permanent
├── RegistryUnavailable    no answer in time, or it is busy or broken          passing
├── RegistryDenied         credentials or rights are refused                   permanent
├── RegistryTlsRefused     its certificate is not accepted                     permanent
└── RegistryMissing        a record needs a registry, and none is configured   permanent

That a registry answers "no such schema" is none of these: it is a fact about the record.

Two requests are all that is needed, hence `requests` rather than the client of confluent-kafka, whose cache is not
bounded, whose requests have no deadline unless told, and whose bearer tokens need a logical cluster of Confluent Cloud.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from dataco_assets.clicks.avro import WriterSchema
from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.untrusted import on_one_line

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

_TIMEOUT_SECONDS = 10.0
_NO_SCHEMA = {40403}
"""Error codes of a 404 that is about the schema, and not about the path."""
_NO_VERSION = {40401, 40402}
# OpenSSL's words for failures that time does not end; others are connections that broke off.
_TLS_REFUSALS = ("certificate verify failed", " alert ", "wrong version number")
_BUSY = frozenset({408, 429})
_DEEPEST = 20
"""Most schemas that refer to each other in a row."""
_ACCEPT = "application/vnd.schemaregistry.v1+json, application/json"


class RegistryFailure(DatacoError):
    """The schema registry answers something that is neither a schema nor the lack of one."""


class RegistryUnavailable(RegistryFailure):
    """The registry does not answer in time, or says that it cannot now; trying again later may help."""

    kind = ErrorKind.PASSING


class RegistryDenied(RegistryFailure):
    """The registry refuses the credentials or the rights, and would refuse them again."""


class RegistryTlsRefused(RegistryFailure):
    """The registry's certificate is not accepted, and would not be accepted again."""


class RegistryMissing(RegistryFailure):
    """A record names a schema by the id of a registry, and none is configured."""


class _Bearer(AuthBase):
    """A token. As an authentication of its own, so that no .netrc file replaces it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        r.headers["Authorization"] = f"Bearer {self._token}"
        return r


class SchemaRegistry:
    """A registry; use as a context manager. Nothing is cached here: its user keeps what it needs.

    Args:
        url: Its address, with the path of the API where it has one.
        auth: How to authenticate; None: not at all.
        ca_file: PEM file of the authority that signed its certificate; empty: those that Python knows.
        retry_seconds: How long a passing failure is retried.
    """

    def __init__(self, url: str, *, auth: AuthBase | None = None, ca_file: str = "", retry_seconds: float) -> None:
        self._url = url.rstrip("/")
        self._verify: str | bool = ca_file or True
        self._session = requests.Session()
        self._session.auth = auth
        self._session.headers["Accept"] = _ACCEPT
        self._retrying = Retrying(
            retry=retry_if_exception_type(RegistryUnavailable),
            stop=stop_after_delay(retry_seconds),
            wait=wait_exponential(multiplier=0.2, max=5),
            reraise=True,
        )

    @classmethod
    def of(cls, settings: "Settings") -> Self | None:
        """The registry that the settings name; None when they name none."""
        if not settings.schema_registry_url:
            return None
        token = settings.schema_registry_token.get_secret_value()
        password = settings.schema_registry_password.get_secret_value()
        auth: AuthBase | None = _Bearer(token) if token else None
        if settings.schema_registry_username:
            auth = HTTPBasicAuth(settings.schema_registry_username.encode(), password.encode())
        return cls(
            settings.schema_registry_url,
            auth=auth,
            ca_file=settings.schema_registry_ca_file,
            retry_seconds=settings.schema_registry_retry_seconds,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def by_id(self, schema_id: int) -> WriterSchema | None:
        """The schema with an id; None when there is none.

        Raises:
            RegistryFailure
        """
        return self._schema(f"/schemas/ids/{schema_id}")

    def by_guid(self, guid: str) -> WriterSchema | None:
        """The schema with a GUID; None when there is none.

        Raises:
            RegistryFailure: also when the registry is older than GUIDs.
        """
        return self._schema(f"/schemas/guids/{guid}")

    def _schema(self, path: str) -> WriterSchema | None:
        found = self._retrying(self._get, path, _NO_SCHEMA)
        if found is None:
            return None
        references: dict[tuple[str, int], str] = {}
        self._collect(path, found, references, 0)
        return WriterSchema(
            _text(self._url, path, found), tuple(references.values()), found.get("schemaType") or "AVRO"
        )

    def _collect(self, path: str, schema: Mapping[str, Any], found: dict[tuple[str, int], str], depth: int) -> None:
        """Adds what a schema refers to, each behind what it refers to itself."""
        if depth > _DEEPEST:
            raise RegistryFailure(
                f"{self._asked(path)} gives schemas that refer to each other more than {_DEEPEST} deep."
            )
        for each in schema.get("references") or ():
            place = self._place(path, each)
            if place in found:
                continue
            inner = f"/subjects/{quote(place[0], safe='')}/versions/{place[1]}"
            answer = self._retrying(self._get, inner, _NO_VERSION)
            if answer is None:
                raise RegistryFailure(f"{self._asked(inner)} does not have what the schema at {path} refers to.")
            self._collect(path, answer, found, depth + 1)
            found[place] = _text(self._url, inner, answer)

    def _place(self, path: str, reference: Any) -> tuple[str, int]:
        """Subject and version that a reference names."""
        try:
            return str(reference["subject"]), int(reference["version"])
        except (KeyError, TypeError, ValueError):
            raise RegistryFailure(f"{self._asked(path)} gives a reference without subject and version.") from None

    def _get(self, path: str, none: set[int]) -> Mapping[str, Any] | None:
        try:
            # `verify` here, for the session's is replaced by the variable REQUESTS_CA_BUNDLE.
            answer = self._session.get(
                self._url + path, timeout=_TIMEOUT_SECONDS, verify=self._verify, allow_redirects=False
            )
        except requests.RequestException as error:
            if isinstance(error, requests.exceptions.SSLError) and any(words in str(error) for words in _TLS_REFUSALS):
                raise RegistryTlsRefused(
                    f"{self._asked(path)} has a certificate that is not accepted ({on_one_line(str(error), 300)}). "
                    "DATACO_SCHEMA_REGISTRY_CA_FILE must name the certificate of the authority that signed it."
                ) from error
            raise RegistryUnavailable(
                f"{self._asked(path)} does not answer ({on_one_line(str(error), 300)}). Is it running? Its address is "
                "DATACO_SCHEMA_REGISTRY_URL."
            ) from error
        return self._content(path, answer, none)

    def _content(self, path: str, answer: requests.Response, none: set[int]) -> Mapping[str, Any] | None:
        status, content = answer.status_code, _document(answer)
        if status == 200 and content is not None:
            return content
        if status == 404 and content is not None and content.get("error_code") in none:
            return None
        said = on_one_line(answer.text, 200)
        if status >= 500 or status in _BUSY:
            raise RegistryUnavailable(f"{self._asked(path)} cannot answer now: {status}, {said}")
        if status in (401, 403):
            raise RegistryDenied(
                f"{self._asked(path)} refuses the request: {status}, {said} Credentials are set by "
                "DATACO_SCHEMA_REGISTRY_USERNAME and _PASSWORD, or by _TOKEN; they need the right to read schemas."
            )
        raise RegistryFailure(
            f"{self._asked(path)} answers {status}, {said} Is DATACO_SCHEMA_REGISTRY_URL the address of a registry, "
            "with its path? GUIDs need one that knows them."
        )

    def _asked(self, path: str) -> str:
        return f"The schema registry at {self._url}, asked for {path},"


def _document(answer: requests.Response) -> Mapping[str, Any] | None:
    try:
        content = answer.json()
    except requests.exceptions.JSONDecodeError:
        return None
    return content if isinstance(content, dict) else None


def _text(url: str, path: str, answer: Mapping[str, Any]) -> str:
    text = answer.get("schema")
    if not isinstance(text, str):
        raise RegistryFailure(f"The schema registry at {url} answers {path} without a schema.")
    return text
