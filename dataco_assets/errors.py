"""The root of the errors a person reads. Each room defines its own beside the code that raises it.

Does not belong here: errors of a single room, and programming errors, which stay what Python raises.
"""


class DatacoError(Exception):
    """An error meant for a person: its message names the thing, its value and the way out.

    The command line prints the message alone, without a traceback.

    Attributes:
        transient: Whether the same may succeed later without anybody's doing: a server that is down, not bad data.
    """

    transient: bool = False
