"""The error of wrong usage: exit code 2, as for an unknown option."""

from dataco_assets.errors import DatacoError


class WrongUsage(DatacoError):
    """An argument or an option has a value that makes no sense, or contradicts another one."""
