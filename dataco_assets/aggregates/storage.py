"""The storage of the aggregates' table: what Spark and Python are told to reach it, by the scheme of its URI.

Belongs here: the properties of Iceberg's two file layers. Does not belong here: the catalog (`table.py`), and what a
failure means (`failures.py`).

| URI | Spark | Python |
|---|---|---|
| `file://` | Hadoop's local file system | pyarrow |
| `hdfs://` | Hadoop's client | WebHDFS (`webhdfs.py`) |
| `s3://`, `s3a://` | Iceberg's S3 client | pyarrow |

Credentials of S3 are not among the properties: both find them where Amazon's libraries look, in the variables `AWS_*`,
a profile, or what the machine or pod is given.
"""

import os
from typing import Final
from urllib.parse import urlsplit

S3_SCHEMES: Final = ("s3", "s3a")
WEBHDFS_URL: Final = "dataco.webhdfs-url"
CONNECT_SECONDS: Final = 5
"""Longest time to connect to a server of the table, catalog or storage."""
ANSWER_SECONDS: Final = 30
"""Longest time to wait for its answer."""
_DEFAULT_REGION: Final = "us-east-1"


def python_properties(warehouse: str, *, s3_endpoint: str = "", webhdfs_url: str = "") -> dict[str, str]:
    """Properties of pyiceberg's catalog that concern files.

    Args:
        warehouse: URI of the folder of the files.
        s3_endpoint: Address of an S3 server that is not Amazon's; empty: Amazon's.
        webhdfs_url: HTTP address of HDFS's NameNode.
    """
    scheme = urlsplit(warehouse).scheme
    if scheme == "hdfs":
        return {"py-io-impl": "dataco_assets.aggregates.webhdfs.WebHdfsFileIO", WEBHDFS_URL: webhdfs_url}
    if scheme not in S3_SCHEMES:
        return {}
    properties = {"s3.connect-timeout": str(CONNECT_SECONDS), "s3.request-timeout": str(ANSWER_SECONDS)}
    if s3_endpoint:
        properties["s3.endpoint"] = s3_endpoint
    if region := _region(s3_endpoint):
        properties["s3.region"] = region
    return properties


def spark_properties(warehouse: str, *, s3_endpoint: str = "") -> dict[str, str]:
    """Properties of Spark's catalog that concern files, without the prefix `spark.sql.catalog.<name>.`.

    Args:
        warehouse: URI of the folder of the files.
        s3_endpoint: Address of an S3 server that is not Amazon's; empty: Amazon's.
    """
    scheme = urlsplit(warehouse).scheme
    if scheme == "hdfs":
        return {
            # By default Hadoop's client tries for 15 minutes to connect to a machine that is away.
            "hadoop.ipc.client.connect.timeout": str(CONNECT_SECONDS * 1000),
            "hadoop.ipc.client.connect.max.retries": "5",
            "hadoop.ipc.client.connect.max.retries.on.timeouts": "2",
        }
    if scheme not in S3_SCHEMES:
        return {}
    properties = {
        "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "http-client.type": "apache",
        "http-client.apache.connection-timeout-ms": str(CONNECT_SECONDS * 1000),
        "http-client.apache.socket-timeout-ms": str(ANSWER_SECONDS * 1000),
    }
    if s3_endpoint:
        # A bucket of another server than Amazon's rarely has a host name of its own.
        properties |= {"s3.endpoint": s3_endpoint, "s3.path-style-access": "true"}
    if region := _region(s3_endpoint):
        properties["client.region"] = region
    return properties


def _region(s3_endpoint: str) -> str:
    """The region that both sides use: their libraries read different variables."""
    named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
    return named or (_DEFAULT_REGION if s3_endpoint else "")
