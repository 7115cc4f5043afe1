"""Where librdkafka's own log lines go."""

import logging


def quiet_logger() -> logging.Logger:
    """Takes librdkafka's own log lines to Python's logging; without a handler there they would go to the terminal."""
    logger = logging.getLogger("dataco.kafka")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return logger
