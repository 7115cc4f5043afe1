"""HDFS for pyiceberg: files named by `hdfs://` are read and written by the NameNode's REST interface, WebHDFS.

pyarrow's own HDFS needs a JVM and Hadoop's libraries in the Python process. WebHDFS needs HTTP alone; it is part of
every NameNode and DataNode. The name of the file stays `hdfs://…`, as Spark writes it into the table's metadata.
"""

import getpass
import os
import re
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from fsspec.implementations.webhdfs import WebHDFS
from pyiceberg.io.fsspec import FsspecFileIO
from pyiceberg.typedef import Properties

from dataco_assets.aggregates.storage import WEBHDFS_URL
from dataco_assets.aggregates.time_limits import TimeLimits, limit

_LOWEST_FAILURE: Final = 400
_OF_THE_FILE: Final = re.compile(r'"(?:FileNotFound|AccessControl|Security)Exception"')
"""Answers about a file and its rights, which fsspec raises as Python does; all others it raises as RuntimeError."""


class WebHdfsFileIO(FsspecFileIO):
    """Files of `hdfs://` by WebHDFS, at the address that the property `dataco.webhdfs-url` has; others as usual."""

    def __init__(self, properties: Properties) -> None:
        super().__init__(properties)
        self._scheme_to_fs["hdfs"] = _file_system


def _file_system(properties: Properties) -> WebHDFS:
    address = urlsplit(properties[WEBHDFS_URL])
    secure = address.scheme == "https"
    made = WebHDFS(
        host=address.hostname,
        port=address.port or (9871 if secure else 9870),
        use_https=secure,
        # The user that Hadoop's own client, in Spark, says it is.
        user=os.environ.get("HADOOP_USER_NAME") or getpass.getuser(),
        use_listings_cache=False,
    )
    limit(made.session, _Answers())
    return made


class _Answers(TimeLimits):
    """Requests with time limits, whose failures are told apart as the table's reader needs it."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Sends a request.

        Raises:
            requests.HTTPError: HDFS cannot do it now: it is a standby, in safe mode, or failed.
        """
        answer = super().send(request, *args, **kwargs)
        if answer.status_code >= _LOWEST_FAILURE and not _OF_THE_FILE.search(answer.text):
            raise requests.HTTPError(f"{request.url}: {answer.status_code} {answer.text[:300]}", response=answer)
        return answer
