"""The clock of this machine. HBase's own clock, which decides what has expired, is `HourLedger.server_time_ms`."""

import time


def now_ms() -> int:
    """This machine's time, epoch milliseconds."""
    return time.time_ns() // 1_000_000
