"""Waiting for a condition with a deadline: the only way these tests let time pass."""

from collections.abc import Callable

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Returns once a condition holds.

    Args:
        condition: Asked again and again.
        seconds: How long it may take.
        what: The condition in words, for the failure.

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
