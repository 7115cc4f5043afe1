"""Time limits for HTTP requests of libraries that set none: requests waits for ever otherwise."""

from typing import Any

import requests
from requests.adapters import HTTPAdapter

from dataco_assets.aggregates import storage


class TimeLimits(HTTPAdapter):
    """Sends requests with the time limits of `storage`: to connect, and between two bytes of an answer."""

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # requests' signature, as all of it
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Sends a request, as requests does."""
        limits = timeout or (storage.CONNECT_SECONDS, storage.ANSWER_SECONDS)
        return super().send(request, stream, limits, verify, cert, proxies)


def limit(session: requests.Session, adapter: TimeLimits | None = None) -> None:
    """Gives all requests of a session time limits."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter or TimeLimits())
