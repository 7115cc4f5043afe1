"""The state of live, as its process reports it: one document, which is also the process's lease.

The process writes it every few seconds with a count that rises. Whoever sees that the count no longer does, gives
readers all hours from the batch (`sensors/live.py`). A second process that begins takes the document over, and the
first one stops at its next renewal.

A lease does not protect data: two processes write to different indices, or the same micro-batches to one (`live.py`).
"""

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from dataco_assets.elasticsearch_errors import AlreadyThere, IndexMissing, VersionConflict
from dataco_assets.index.layout import live_state_index
from dataco_assets.index.live import LiveTakenOver

if TYPE_CHECKING:
    from dataco_assets.clients.elasticsearch import SearchClient
    from dataco_assets.settings import Settings

RENEWAL_SECONDS: Final = 5.0
_ID: Final = "live"


@dataclass(frozen=True, kw_only=True)
class LiveReport:
    """What the process of live says of itself.

    Attributes:
        owner: The process, as a random text.
        run_id: The live run; empty before the first one.
        renewals: How often it has reported.
        reported_at_ms: When, epoch ms by its machine's clock.
        stopped: Whether it ended in good order.
        batch_id: Number of its last micro-batch; None: none yet.
        batch_seconds: How long that one took.
        latency_seconds: Within this time of their arrival in Kafka, readers could see 95 % of the clicks of each
            micro-batch of the last minute; None: none came.
        behind: Records that waited in Kafka when that one was planned, and were not in it; None: not known yet.
        users: Users in the state.
        newest_ms: Time of the newest click, epoch ms; None: none yet.
        running_from: Readers get all hours from this one on from live, epoch ms; None: they get none.
        closed: The hours before it that they get from live, too, epoch ms.
        given_up: Hours in which it did not agree with the batch when it gave them up, epoch ms; the last few.
    """

    owner: str
    run_id: str = ""
    renewals: int = 0
    reported_at_ms: int = 0
    stopped: bool = False
    batch_id: int | None = None
    batch_seconds: float | None = None
    latency_seconds: float | None = None
    behind: int | None = None
    users: int = 0
    newest_ms: int | None = None
    running_from: int | None = None
    closed: list[int] = field(default_factory=list)
    given_up: list[int] = field(default_factory=list)

    @property
    def lease(self) -> str:
        """A text that changes while the process is alive."""
        return f"{self.owner} {self.renewals}"

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        """From the document; fields that this version does not know are left out."""
        known = {name: value for name, value in document.items() if name in cls.__dataclass_fields__}
        return cls(**known)


def read_report(client: "SearchClient", alias: str) -> LiveReport | None:
    """The last report; None when live never ran.

    Raises:
        ElasticsearchError: it does not answer or refuses.
    """
    try:
        found = client.get(index=live_state_index(alias), id=_ID)
    except IndexMissing:
        return None
    return LiveReport.of(found["_source"])


class Lease:
    """The lease of this process.

    Args:
        client: The client.
        settings: Replicas.
        alias: The alias that readers search.
    """

    def __init__(self, client: "SearchClient", settings: "Settings", alias: str) -> None:
        self._client = client
        self._replicas = str(settings.index_replicas)
        self._index = live_state_index(alias)
        self._place: dict[str, Any] = {}

    def take(self, report: LiveReport) -> None:
        """Takes the lease over from whichever process has it.

        Raises:
            ElasticsearchError: it does not answer or refuses.
        """
        with suppress(AlreadyThere):
            self._client.indices.create(
                index=self._index,
                mappings={"dynamic": False},
                settings={"number_of_shards": "1", "number_of_replicas": self._replicas},
            )
        self._place = {}
        self.renew(report)

    def renew(self, report: LiveReport) -> None:
        """Reports, unless another process has taken the lease over.

        Raises:
            LiveTakenOver: one has.
            ElasticsearchError: it does not answer or refuses.
        """
        try:
            written = self._client.index(index=self._index, id=_ID, document=asdict(report), **self._place)
        except VersionConflict as error:
            raise LiveTakenOver(
                "Another process runs `dataco live` for the same alias now; this one stops. Run one at a time."
            ) from error
        self._place = {"if_seq_no": written["_seq_no"], "if_primary_term": written["_primary_term"]}
