"""Where the schemas of Avro records are: in the registry, in a folder of the operator's, and in the contract itself."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from dataco_assets.clicks.avro import UnsuitableSchema, WriterSchema, fingerprint_of, loaded
from dataco_assets.clicks.framing import RefersBy, SchemaReference
from dataco_assets.clicks.samples import ContractSchemas
from dataco_assets.clients.schema_registry import RegistryMissing, SchemaRegistry
from dataco_assets.errors import DatacoError

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

_PATTERN = "*.avsc"


class SchemaFileUnusable(DatacoError):
    """A file of the folder of writers' schemas cannot be read, or is no Avro schema."""


class KnownSchemas:
    """Finds writers' schemas; use as a context manager. See `clicks.record.WriterSchemas`.

    Args:
        registry: For ids and GUIDs; None: there is none.
        folder: Folder of `.avsc` files, by whose fingerprints records name them; empty: none.
        registry_needed: Whether a record that needs a registry is an error when there is none. Otherwise its schema is
            unknown, as for a person who looks at rejected records.
    """

    def __init__(self, registry: SchemaRegistry | None, folder: str = "", *, registry_needed: bool = True) -> None:
        self._registry = registry
        self._folder = folder
        self._registry_needed = registry_needed
        self._contract: ContractSchemas | None = None
        self._files: dict[str, WriterSchema] | None = None
        self._opened = ExitStack()

    @classmethod
    def of(cls, settings: "Settings", *, registry_needed: bool = True) -> Self:
        """The schemas that the settings lead to."""
        return cls(SchemaRegistry.of(settings), settings.writer_schemas, registry_needed=registry_needed)

    def __enter__(self) -> Self:
        if self._registry is not None:
            self._opened.enter_context(self._registry)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def find(self, reference: SchemaReference) -> WriterSchema | None:
        """The schema of that name; None when there is none.

        Raises:
            RegistryFailure, SchemaFileUnusable
        """
        if reference.by is RefersBy.FINGERPRINT:
            return self._by_fingerprint(reference)
        if self._registry is not None:
            by_id = reference.by is RefersBy.ID
            return self._registry.by_id(int(reference.value)) if by_id else self._registry.by_guid(reference.value)
        if not self._registry_needed:
            return None
        raise RegistryMissing(
            f"A record of the clicks topic names its schema by {reference}, so it was written with a schema registry, "
            "but DATACO_SCHEMA_REGISTRY_URL is not set. Nothing was rejected. If such records are no clicks, run once "
            "with without_registry: reject."
        )

    def _by_fingerprint(self, reference: SchemaReference) -> WriterSchema | None:
        if self._contract is None:
            self._contract = ContractSchemas()
        if (found := self._contract.find(reference)) is not None:
            return found
        if self._files is None:
            self._files = (
                dict(_schema_file(path) for path in sorted(Path(self._folder).glob(_PATTERN))) if self._folder else {}
            )
        return self._files.get(reference.value)


def _schema_file(path: Path) -> tuple[str, WriterSchema]:
    try:
        text = path.read_text(encoding="utf-8")
        return fingerprint_of(loaded(text)).hex(), WriterSchema(text)
    except OSError as error:
        raise SchemaFileUnusable(f"{path} (DATACO_WRITER_SCHEMAS) cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, UnsuitableSchema) as error:
        raise SchemaFileUnusable(f"{path} (DATACO_WRITER_SCHEMAS) cannot be used: {error}.") from error
