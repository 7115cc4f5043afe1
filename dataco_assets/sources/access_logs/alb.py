"""Access logs of AWS Application Load Balancers.

Source: "Access logs for your Application Load Balancer" in the Elastic Load Balancing user guide, which lists the
fields in their order. A click happened at `request_creation_time`; lines from before that field was added have only
`time`, at which the response was sent. Requests carry the whole URL, always with its port.
"""

import re

from dataco_assets.sources.access_logs.escapes import header_text, unescaped
from dataco_assets.sources.access_logs.request import (
    Request,
    Skip,
    is_address,
    iso_milliseconds,
    target_of,
    without_port,
)

_QUOTED = rb'[^"\\]*(?:\\.[^"\\]*)*'
_LINE = re.compile(
    rb"(?:https?|h2|grpcs|wss?) (?P<time>\S+) \S+ (?P<client>\S+) \S+ [-\d.]+ [-\d.]+ [-\d.]+ \S+ \S+ \d+ \d+ "
    rb'"(?P<request>' + _QUOTED + rb')" "(?P<user_agent>' + _QUOTED + rb')" \S+ \S+(?P<rest>.*)',
    re.DOTALL,
)
_CREATION_TIME = re.compile(
    rb' \S+ "' + _QUOTED + rb'" "' + _QUOTED + rb'" "' + _QUOTED + rb'" \S+ (?P<time>\d{4}-\S+)(?: .*)?', re.DOTALL
)
_DEFAULT_PORT = re.compile(rb"(?i)(http://[^/?#]*?):80(?=[/?#]|\Z)|(https://[^/?#]*?):443(?=[/?#]|\Z)")


def alb(line: bytes) -> Request | Skip:
    """Reads a line of an Application Load Balancer."""
    match = _LINE.fullmatch(line)
    if match is None:
        return Skip.OTHER_FORMAT
    target = target_of(unescaped(match["request"]))
    if isinstance(target, Skip):
        return target
    created = _CREATION_TIME.fullmatch(match["rest"])
    timestamp = iso_milliseconds(header_text((created or match)["time"]))
    if timestamp is None:
        return Skip.BAD_TIME
    address = without_port(header_text(match["client"]))
    if not is_address(address):
        return Skip.BAD_ADDRESS
    user_agent = header_text(unescaped(match["user_agent"]))
    target = _DEFAULT_PORT.sub(lambda found: found[1] or found[2], target, count=1)
    return Request(address, timestamp, target, None if user_agent in ("", "-") else user_agent)
