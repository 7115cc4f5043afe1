"""Publication into the index against the Elasticsearch client's own parallel bulk helper."""

from benchmarks.bench import Bench, Platform
from benchmarks.figures import Bound, Figure


def measure(bench: Bench, large: Platform) -> float:
    """Publishes what the backfill stored; call after it.

    Returns:
        Documents a second of the helper.
    """
    bench.settle()
    arguments = {"documents_wanted": bench.sizes.documents, "repetitions": 1}
    found = bench.worker(large, "publish", arguments)
    rates = {way: found["documents"] / seconds for way, seconds in found["seconds"].items()}
    bench.findings.figures.append(
        Figure(
            f"index publication of {found['documents']:,} documents, {found['hours']} hours",
            *(rates["platform"], "documents/s", 0.8, Bound.AT_LEAST),
            against="elasticsearch.helpers.parallel_bulk of the same documents",
            against_value=rates["peer"],
        )
    )
    return rates["peer"]
