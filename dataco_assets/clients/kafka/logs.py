"""Where librdkafka's own log lines go."""

import logging


def quiet_logger() -> logging.Logger:
    """Keeps librdkafka's own log lines from terminal and log: while a broker is away, there are twenty a second.

    What they tell is in the errors of these clients. Whoever wants the lines adds a handler to the logger.
    """
    logger = logging.getLogger("dataco.kafka")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger
