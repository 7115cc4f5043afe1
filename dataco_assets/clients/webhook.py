"""Posting JSON to a webhook, such as a chat's or an alerting service's."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from dataco_assets.errors import DatacoError, ErrorKind

_SECONDS = 3.0
_RETRIES = 2
_BACK_OFF_SECONDS = 0.2


class WebhookFailed(DatacoError):
    """A webhook did not take a message."""

    kind = ErrorKind.PASSING


def post(url: str, message: Mapping[str, Any]) -> None:
    """Posts a message as JSON, retried twice; takes at most about 10 s.

    Args:
        url: The webhook's. It is a secret, so no error shows more than its host.
        message: What to send.

    Raises:
        WebhookFailed: the message was not accepted.
    """
    host = urlsplit(url).hostname
    retry = Retry(
        total=_RETRIES,
        backoff_factor=_BACK_OFF_SECONDS,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("POST",),
        respect_retry_after_header=False,
    )
    with requests.Session() as session:
        session.mount(url, HTTPAdapter(max_retries=retry))
        try:
            answer = session.post(url, json=message, timeout=_SECONDS, allow_redirects=False)
        except requests.RequestException as error:
            # The client's own text quotes the URL, hence the cause is not kept either.
            raise WebhookFailed(
                f"The webhook at {host} did not take the message ({_kind(error)}). Its address is DATACO_WEBHOOK_URL."
            ) from None
    if not answer.ok or answer.is_redirect:
        raise WebhookFailed(f"The webhook at {host} answered {answer.status_code}. Its address is DATACO_WEBHOOK_URL.")


def _kind(error: requests.RequestException) -> str:
    """The name of the innermost error, such as NameResolutionError or NewConnectionError."""
    outer = error.args[0] if error.args else error
    return type(getattr(outer, "reason", None) or error).__name__
