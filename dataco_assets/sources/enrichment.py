"""What a visitor's address and user agent reveal: country, browser, operating system, device. Offline.

Belongs here: the two look-up libraries and the optional extra that brings them. Does not belong here: reading logs.
This is the only module that imports `geoip2fast` and `ua_parser`.
"""

import importlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import NamedTuple

from dataco_assets.errors import DatacoError

EXTRA = "access-log"

_COUNTRY = re.compile(r"[A-Z]{2}")
_DATABASE = "geoip2fast-ipv6.dat.gz"  # countries by IPv4 and IPv6, shipped inside the package


class MissingExtraError(DatacoError):
    """A library of an optional extra is not installed; the message names the extra."""


class Client(NamedTuple):
    """What a user agent says about itself; None where it says nothing known."""

    browser: str | None
    operating_system: str | None
    device: str | None


class Enrichment:
    """Look-ups in databases that are loaded once, when this is made.

    Raises:
        MissingExtraError: when the extra `access-log` is not installed.
    """

    def __init__(self) -> None:
        with _environment_kept():  # geoip2fast silences Python's warnings for every child process
            geoip2fast = _module("geoip2fast")
        self._parse_user_agent = _module("ua_parser").parse
        self._countries = geoip2fast.GeoIP2Fast(geoip2fast_data_file=_DATABASE)

    def country(self, ip_address: str) -> str | None:
        """The ISO 3166-1 alpha-2 country of an address; None when private, reserved or unknown."""
        code = self._countries.lookup(ip_address).country_code
        return code if _COUNTRY.fullmatch(code) else None

    def client(self, user_agent: str) -> Client:
        """Browser, operating system and device families of a user agent."""
        found = self._parse_user_agent(user_agent)
        return Client(
            found.user_agent.family if found.user_agent else None,
            found.os.family if found.os else None,
            found.device.family if found.device else None,
        )


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"Reading access logs needs the package {error.name}, which is not installed. "
            f"Install the extra: pip install 'dataco-clickstream[{EXTRA}]'"
        ) from error


@contextmanager
def _environment_kept() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
