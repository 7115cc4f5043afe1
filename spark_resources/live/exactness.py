"""Which hours live computes exactly. They follow from the watermark, behind which clicks come too late. Pure."""

from dataco_assets.clicks.hour import HOUR_MS, VISIT_GAP_MS, hour_of


def watermark_delay_ms(hours: int) -> int:
    """How far the watermark stays behind the newest click, so that so many hours are exact, the newest one included."""
    return hours * HOUR_MS + VISIT_GAP_MS


def exact_from(watermark_ms: int) -> int:
    """The first hour that is exact at a watermark: all clicks that it depends on lie after the watermark, epoch ms."""
    first_needed_ms = watermark_ms + 1 + VISIT_GAP_MS
    return hour_of(first_needed_ms + HOUR_MS - 1)
