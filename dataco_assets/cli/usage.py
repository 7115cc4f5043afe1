"""The error of a command that was called in a way it cannot be: exit code 2, as for an unknown option."""

from dataco_assets.errors import DatacoError


class WrongUsage(DatacoError):
    """An argument or an option has a value that makes no sense, or contradicts another one."""
