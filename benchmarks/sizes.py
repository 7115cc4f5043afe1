"""How large a benchmark run is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Amounts to measure with.

    Attributes:
        clicks: Messages waiting for the large ingest, spread over `hours`.
        few_clicks: Messages waiting for the ingest whose memory the large one's is held against; all in one hour.
        warm_clicks: Messages drained before anything is measured.
        curve_clicks: Messages of the further points of the curve over clicks.
        connection_clicks: Messages drained with each number of connections.
        hours: Hours of the backfill.
        curve_hours: Hours of the further points of the curve over hours.
        documents: Documents published.
        refreshes: Refreshes of a small hour by a running `dagster dev`.
        warm_refreshes: Of an hour in a session before one is measured warm: until then, compilers work.
        live_seconds: How long live is probed at each rate.
        live_long_seconds: How long at the lower one: 200 probes.
        live_users: Users of an hour with very many.
        batch_latency_seconds: How long the batch alone is probed with each settings.
        live_clicks_of_a_user: Clicks of the busiest user of an hour.
        repetitions: Of short measurements, of which the median counts.
    """

    clicks: int
    few_clicks: int
    warm_clicks: int
    curve_clicks: tuple[int, ...]
    connection_clicks: int
    hours: int
    curve_hours: tuple[int, ...]
    documents: int
    refreshes: int
    warm_refreshes: int
    live_seconds: float
    live_long_seconds: float
    live_users: int
    batch_latency_seconds: float
    live_clicks_of_a_user: int
    repetitions: int


FULL = Sizes(
    clicks=1_000_000,
    few_clicks=100_000,
    warm_clicks=1_000_000,
    curve_clicks=(10_000,),
    connection_clicks=100_000,
    hours=720,
    curve_hours=(24, 168),
    documents=200_000,
    refreshes=5,
    warm_refreshes=5,
    live_seconds=90.0,
    live_long_seconds=345.0,
    live_users=5_000_000,
    batch_latency_seconds=240.0,
    live_clicks_of_a_user=500_000,
    repetitions=3,
)
QUICK = Sizes(
    clicks=60_000,
    few_clicks=20_000,
    warm_clicks=10_000,
    curve_clicks=(10_000,),
    connection_clicks=20_000,
    hours=48,
    curve_hours=(12,),
    documents=20_000,
    refreshes=1,
    warm_refreshes=1,
    live_seconds=10.0,
    live_long_seconds=10.0,
    live_users=20_000,
    batch_latency_seconds=15.0,
    live_clicks_of_a_user=5_000,
    repetitions=1,
)
