"""Looks up the country of an IP address, and browser, operating system and device of a user agent, offline.

This is the only module that imports `geoip2fast` and `ua_parser`, which the optional extra `access-log` installs.
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
    """Families of browser, operating system and device; None where the user agent names no known one."""

    browser: str | None
    operating_system: str | None
    device: str | None


class Enrichment:
    """Look-ups in databases that are loaded when the object is created.

    Raises:
        MissingExtraError: when the extra `access-log` is not installed.
    """

    def __init__(self) -> None:
        with _environment_kept():  # importing geoip2fast sets PYTHONWARNINGS, which child processes inherit
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
