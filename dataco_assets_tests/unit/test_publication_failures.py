"""Tests the classification of failed writes, with the texts that elasticsearch-hadoop 8.19 reports.

`integration/test_publication.py` causes the same failures on real servers.
"""

import pytest

from dataco_assets.elasticsearch_errors import (
    ElasticsearchRefused,
    ElasticsearchUnavailable,
    IndexBlocked,
    IndexMissing,
    VersionConflict,
)
from dataco_assets.errors import DatacoError, ErrorKind
from spark_resources.publication import PublicationFailed, explain

URL = "http://es:9200"
_ABORTED = (
    "org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 403.0 failed 1 times, most "
    "recent failure: Lost task 0.0 in stage 401.0 (TID 403) (10.0.4.1 executor driver): "
)
_REMOTE = "\torg.elasticsearch.hadoop.rest.EsHadoopRemoteException: "
_UNDETECTED = "org.elasticsearch.hadoop.EsHadoopIllegalArgumentException: Cannot detect ES version - typically …\n"


def _bulk(*items: str) -> str:
    quoted = '{"index":{"_id":"c39"}}\n{"page":"https://a.example/ 401 security_exception: Forbidden 403"}\n'
    head = _ABORTED + "org.elasticsearch.hadoop.EsHadoopException: Could not write all entries for bulk operation"
    return f"{head} [3/403]. Error sample (first [5] error messages):\n" + "".join(
        f"{_REMOTE}{item}\n\t{quoted}" for item in items
    )


_CONFLICT = "version_conflict_engine_exception: [c39]: version conflict, current version [403] is higher"
_FULL = "cluster_block_exception: index [i] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage];"
_WRITE_BLOCK = "cluster_block_exception: index [i] blocked by: [FORBIDDEN/8/index write (api)];"
_STRICT = "strict_dynamic_mapping_exception: [1:401] mapping set to strict, dynamic introduction of [x] within [_doc]"
_BUSY = "es_rejected_execution_exception: rejected execution (403 queued tasks)"


@pytest.mark.parametrize(
    ("report", "error", "reported"),
    [
        (_bulk(_CONFLICT, _CONFLICT), VersionConflict, "newer version"),
        (_bulk(_CONFLICT, _FULL), IndexBlocked, "disk is full"),
        (_bulk(_WRITE_BLOCK), IndexBlocked, "writes are blocked"),
        (_bulk(_STRICT), ElasticsearchRefused, "refuses a document"),
        (_bulk(_BUSY), ElasticsearchUnavailable, "overloaded"),
        (
            _UNDETECTED + "org.elasticsearch.hadoop.rest.EsHadoopInvalidRequest: org.elasticsearch.hadoop.rest."
            "EsHadoopRemoteException: security_exception: action [x] is unauthorized for user [ann]",
            ElasticsearchRefused,
            "DATACO_ELASTICSEARCH_USERNAME",
        ),
        (
            _UNDETECTED + "org.elasticsearch.hadoop.rest.EsHadoopInvalidRequest: [GET] on [] failed; "
            "server[127.0.0.1:9200] returned [401|Unauthorized:]",
            ElasticsearchRefused,
            "refuses the user (401)",
        ),
        (
            _UNDETECTED + "org.elasticsearch.hadoop.rest.EsHadoopInvalidRequest: org.elasticsearch.hadoop.rest."
            "EsHadoopRemoteException: {type=master_not_discovered_exception, reason=null}",
            ElasticsearchUnavailable,
            "master_not_discovered",
        ),
        (
            _UNDETECTED + "org.elasticsearch.hadoop.rest.EsHadoopNoNodesLeftException: Connection error (check network "
            "and/or proxy settings)- all nodes failed; tried [[10.0.4.3:403]]",
            ElasticsearchUnavailable,
            "does not answer",
        ),
        (
            "org.elasticsearch.hadoop.EsHadoopIllegalArgumentException: Target index [i-2026.01] does not exist and "
            "auto-creation is disabled [setting 'es.index.auto.create' is 'false']",
            IndexMissing,
            "i-2026.01",
        ),
        (_ABORTED + "java.lang.OutOfMemoryError: Java heap space 403", PublicationFailed, "OutOfMemoryError"),
    ],
)
def test_a_report_is_classified_by_the_server_s_error_type(
    report: str, error: type[DatacoError], reported: str
) -> None:
    found = explain(URL, RuntimeError(report))
    assert type(found) is error
    assert reported in str(found)
    assert URL in str(found)
    permanent = (ElasticsearchRefused, IndexMissing)
    assert found.kind is (ErrorKind.PERMANENT if error in permanent else ErrorKind.PASSING)
