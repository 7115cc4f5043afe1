"""What can be wrong with the aggregates' table, and which of it an error of its catalog or its storage means.

Belongs here: the errors, and telling an outage from a refusal by what the servers say, to Python or to Spark.
"""

import re
from typing import Final

from dataco_assets.errors import DatacoError, ErrorKind

_SHOWN: Final = 300
_REFUSALS: Final = re.compile(
    # S3, as Amazon's libraries for C++ (pyarrow) and for Java name its answers
    r"\bNO_SUCH_BUCKET\b|\bNoSuchBucketException\b|\bACCESS_DENIED\b|\bAccessDenied|\bStatus Code: 403\b"
    r"|\bINVALID_ACCESS_KEY_ID\b|\bSIGNATURE_DOES_NOT_MATCH\b|\bINVALID_CLIENT_TOKEN_ID\b|\bCredentialsError\b"
    r"|\bUnable to load credentials\b"
    # HDFS
    r"|\bAccessControlException\b|\bPermission denied: user="
    # PostgreSQL, for both drivers
    r'|\bpassword authentication failed\b|\bdatabase "[^"]*" does not exist\b|\brole "[^"]*" does not exist\b'
    r"|\bno pg_hba\.conf entry\b|\bpermission denied for \w+"
    # a REST catalog
    r"|\bNotAuthorizedException\b|\bForbidden(?:Error|Exception)\b|\bUnauthorizedError\b"
)


class AggregatesUnreadable(DatacoError):
    """The table, or an hour's data file, is not as this platform and Iceberg write it, or is gone."""


class AggregatesUnavailable(DatacoError):
    """The table's catalog or storage does not answer; trying again later may help."""

    kind = ErrorKind.PASSING


class AggregatesRefused(DatacoError):
    """The table's catalog or storage refuses: a bucket or database that is not there, a wrong password, no right."""


def failure(server: str, said: str) -> DatacoError:
    """The error that an answer means.

    Args:
        server: What it is about, for the message: the catalog or the storage, its address, the variable that has it.
        said: The error as a library reported it, without secrets.
    """
    shown = ascii(" ".join(said.split())[:_SHOWN])
    if _REFUSALS.search(said):
        return AggregatesRefused(f"{server} refuses: {shown}. Correct the address, the user or their rights.")
    return AggregatesUnavailable(f"{server} does not answer as it should: {shown}. Is it up and reachable?")
