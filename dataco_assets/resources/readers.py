"""Whether readers get the running hour from live or from the batch."""

import logging

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.errors import DatacoError
from dataco_assets.resources.elasticsearch import ElasticsearchResource
from dataco_assets.settings import Settings

logger = logging.getLogger(__name__)

_CALL_SECONDS = 2.0


def readers_have_live(elasticsearch: ElasticsearchResource, settings: Settings) -> bool:
    """Whether the readers' alias shows hours of live; False where Elasticsearch does not say, as without live."""
    from dataco_assets.index.indices import Index

    try:
        with elasticsearch.impatient_client(_CALL_SECONDS) as client:
            return bool(Index.of(client, settings, PAGES).live())
    except DatacoError as error:
        logger.info("Cannot see whether readers get the running hour from live, so the batch serves it: %s", error)
        return False
