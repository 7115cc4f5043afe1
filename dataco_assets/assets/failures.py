"""How the platform's errors become Dagster failures.

Belongs here: which of them a retry can cure, and their text. Does not belong here: programming errors, which keep their
traceback.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from dataco_assets.errors import DatacoError, ErrorKind


@contextmanager
def explained() -> Iterator[None]:
    """Turns a `DatacoError` into a `Failure` with its message, retried only when time may cure it.

    Raises:
        dagster.Failure
    """
    try:
        yield
    except DatacoError as error:
        raise dg.Failure(
            description=str(error),
            metadata={"error": type(error).__name__, "kind": error.kind.value},
            allow_retries=error.kind is ErrorKind.PASSING,
        ) from error
