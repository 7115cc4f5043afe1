"""The address that a command serves at."""

from dataco_assets.errors import DatacoError


class CannotListen(DatacoError):
    """The address and port that something is to be served at cannot be used."""

    @classmethod
    def at(cls, host: str, port: int, error: OSError) -> "CannotListen":
        """The error for an address, and why."""
        return cls(f"Cannot listen on {host}:{port}: {error.strerror}. Choose another with --port.")
