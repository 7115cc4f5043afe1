"""pyiceberg's client of a REST catalog, with time limits."""

from pyiceberg.catalog.rest import RestCatalog
from requests import Session

from dataco_assets.aggregates.time_limits import limit


class TimedRestCatalog(RestCatalog):
    """A REST catalog's client that reports a server which does not answer."""

    def _config_headers(self, session: Session) -> None:
        limit(session)  # here, because the next step of making the session already asks for a token
        super()._config_headers(session)
