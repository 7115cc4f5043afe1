"""Errors of the local stack that a person reads.

Does not belong here: programming errors, which stay what Python raises.
"""


class StackError(Exception):
    """An error of the local servers that a person can fix; the message says how."""


class NotReady(Exception):
    """A server does not answer yet; the message names the request and the answer."""
