"""The circumstances of a run: a fingerprint of settings, code and topic. Parked work is retried when it changes."""

import hashlib
import importlib
from functools import cache
from pathlib import Path

from pydantic import SecretStr

from dataco_assets.settings import Settings

_PACKAGES = ("dataco_assets", "spark_resources")
_DIGITS = 16


def circumstances(settings: Settings, topic_id: str = "") -> str:
    """A fingerprint of settings, code and topic. Secrets are left out, because it is displayed.

    Args:
        settings: The platform's settings.
        topic_id: Id of the clicks topic, for an ingest.
    """
    secret = {name for name, value in settings if isinstance(value, SecretStr)}
    shown = settings.model_dump_json(exclude=secret)
    return hashlib.sha256(f"{shown}\0{code_version()}\0{topic_id}".encode()).hexdigest()[:_DIGITS]


@cache
def code_version() -> str:
    """A fingerprint of the platform's source, computed once per process."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        (root,) = importlib.import_module(package).__path__
        for path in sorted(Path(root).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
