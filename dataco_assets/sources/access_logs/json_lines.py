"""Access logs with one JSON object a line: Caddy's, Traefik's, and nginx's where its variables name the members.

Sources: "Structured Logging" and the `log` directive in Caddy's documentation; "Access Logs" in Traefik's; for nginx,
whose JSON is a `log_format … escape=json` that everybody writes for themselves, the names of its variables and those
that guides commonly use instead (`_NGINX`). Which of the three wrote a line is seen from its members.

Traefik drops request headers unless it is configured to keep them; without a user agent all visitors at one address are
one user. nginx passes bytes that are not UTF-8 through; they are kept.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from dataco_assets.sources.access_logs.escapes import header_text
from dataco_assets.sources.access_logs.ncsa import clf_milliseconds
from dataco_assets.sources.access_logs.request import (
    Request,
    Skip,
    host_of,
    is_address,
    iso_milliseconds,
    referrer_of,
    target_of,
    without_port,
)

Members = Mapping[str, Any]

_NGINX = {
    "address": ("remote_addr", "client_ip", "remote_ip", "client", "ip"),
    "time": ("msec", "time_iso8601", "time_local", "@timestamp", "timestamp", "time", "ts"),
    "request": ("request",),
    "target": ("request_uri", "uri", "path", "url"),
    "user_agent": ("http_user_agent", "user_agent", "agent"),
    "referrer": ("http_referer", "referer", "referrer"),
    "host": ("host", "http_host", "server_name", "vhost"),
    "scheme": ("scheme",),
}


def json_lines(line: bytes) -> Request | Skip | None:
    """Reads a line of Caddy, Traefik or nginx; other JSON, such as Caddy's other logs, is no request."""
    try:
        members = json.loads(line.decode(errors="surrogateescape"))
    except (ValueError, RecursionError):
        return Skip.OTHER_FORMAT
    if not isinstance(members, dict):
        return Skip.OTHER_FORMAT
    if isinstance(members.get("request"), dict):
        return _caddy(members, members["request"])
    if "RequestPath" in members:
        return _traefik(members)
    return _nginx(members)


def _caddy(members: Members, request: Members) -> Request | Skip:
    headers = request.get("headers")
    sent = headers if isinstance(headers, dict) else {}
    return _request(
        address=request.get("client_ip") or request.get("remote_ip") or request.get("remote_addr"),
        time=members.get("ts"),
        target=_bytes(request.get("uri")),
        user_agent=_first_of(sent.get("User-Agent")),
        referrer=_first_of(sent.get("Referer")),
        host=request.get("host"),
        scheme="http" if request.get("tls") is None else "https",
    )


def _traefik(members: Members) -> Request | Skip:
    return _request(
        address=members.get("ClientHost") or members.get("ClientAddr"),
        time=members.get("StartUTC") or members.get("time"),
        target=_bytes(members.get("RequestPath")),
        user_agent=members.get("request_User-Agent"),
        referrer=members.get("request_Referer"),
        host=members.get("RequestAddr") or members.get("RequestHost"),
        scheme=members.get("RequestScheme"),
    )


def _nginx(members: Members) -> Request | Skip:
    found = {what: _first(members, names) for what, names in _NGINX.items()}
    if found["address"] is None or found["time"] is None:
        return Skip.OTHER_FORMAT
    whole = _bytes(found["request"])
    return _request(
        address=found["address"],
        time=found["time"],
        target=target_of(whole) if whole else _bytes(found["target"]),
        user_agent=found["user_agent"],
        referrer=found["referrer"],
        host=found["host"],
        scheme=found["scheme"],
    )


def _request(
    *, address: Any, time: Any, target: bytes | Skip, user_agent: Any, referrer: Any, host: Any, scheme: Any
) -> Request | Skip:
    if isinstance(target, Skip) or not target:
        return Skip.NO_REQUEST
    timestamp = _milliseconds(time)
    if timestamp is None:
        return Skip.BAD_TIME
    client = without_port(address) if isinstance(address, str) else ""
    if not is_address(client):
        return Skip.BAD_ADDRESS
    agent = header_text(_bytes(user_agent))
    named = host_of(header_text(_bytes(host)), scheme if scheme in ("http", "https") else None)
    named_agent = None if agent in ("", "-") else agent
    return Request(client, timestamp, target, named_agent, named, referrer_of(_bytes(referrer)))


def _first_of(values: Any) -> Any:
    return values[0] if isinstance(values, list) and values else None


def _first(members: Members, names: tuple[str, ...]) -> Any:
    return next((members[name] for name in names if members.get(name) not in (None, "", "-")), None)


def _bytes(value: Any) -> bytes:
    """The bytes that a JSON text was logged for; empty for anything but a text."""
    if not isinstance(value, str):
        return b""
    try:
        return value.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # an escape such as \ud800 that stands for no character
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _milliseconds(time: Any) -> int | None:
    """Epoch milliseconds of seconds since 1970 as number or text, of ISO 8601, or of Apache's and nginx's form."""
    if isinstance(time, str):
        found = iso_milliseconds(time)
        if found is None:
            found = clf_milliseconds(time)
        if found is not None:
            return found
    try:
        milliseconds = float(time) * 1000 + 0.0005  # a float of seconds may lie just below its millisecond
    except (TypeError, ValueError, OverflowError):
        return None
    return math.floor(milliseconds) if math.isfinite(milliseconds) else None
