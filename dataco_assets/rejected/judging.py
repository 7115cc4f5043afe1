"""Judges rejected clicks by the rules as they are now, and reads what can be read of them."""

from typing import TYPE_CHECKING, Any

from dataco_assets.clicks.event import Rejection
from dataco_assets.clicks.framing import is_json
from dataco_assets.clicks.record import ClickParser, WriterSchemas
from dataco_assets.clients.writer_schemas import KnownSchemas
from dataco_assets.clock import now_ms

if TYPE_CHECKING:
    from dataco_assets.settings import Settings


class Judge:
    """The rules that a click sent now is judged by; all but HBase's own verdict.

    Args:
        schemas: The source of writers' schemas.
        earliest_ms: Start of the first partition, epoch ms.
    """

    def __init__(self, schemas: WriterSchemas, *, earliest_ms: int) -> None:
        self._parser = ClickParser(schemas)
        self._sent_ms = now_ms()
        self._earliest_ms = earliest_ms

    @classmethod
    def of(cls, settings: "Settings") -> "Judge":
        """The rules by the settings. Without a registry, schemas that only one would know are unknown."""
        return cls(KnownSchemas.of(settings, registry_needed=False), earliest_ms=settings.partitions_start_ms)

    def verdict(self, value: bytes | None, header: bytes | None) -> Rejection | None:
        """Why a record would be rejected; None when it would not.

        Args:
            value: Its value.
            header: What names the schema of the value in Avro, where a header does.

        Raises:
            RegistryFailure
        """
        found = self._parser.parse(value, header, record_time_ms=self._sent_ms, earliest_ms=self._earliest_ms)
        return found if isinstance(found, Rejection) else None

    def user_id(self, value: bytes | None, header: bytes | None) -> str | None:
        """The user id in a value; None when none can be read.

        Raises:
            RegistryFailure
        """
        return self._parser.user_id(value, header)

    def decoded(self, value: bytes | None, header: bytes | None) -> dict[str, Any] | None:
        """A value in Avro as the members of a JSON object; None when it is none, or cannot be read.

        Raises:
            RegistryFailure
        """
        return None if value is None or is_json(value, header) else self._parser.known_values(value, header)
