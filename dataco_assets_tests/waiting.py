"""Waits for a condition with a deadline; the tests use this instead of sleeping."""

from collections.abc import Callable

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Returns once a condition holds.

    Args:
        condition: Evaluated repeatedly.
        seconds: How long it may take.
        what: The condition in words, for the error.

    Raises:
        AssertionError: it does not hold in time.
    """
    retrying = Retrying(
        retry=retry_if_result(lambda holds: not holds), stop=stop_after_delay(seconds), wait=wait_fixed(0.1)
    )
    try:
        retrying(condition)
    except RetryError:
        raise AssertionError(f"not within {seconds:.0f} s: {what}") from None
