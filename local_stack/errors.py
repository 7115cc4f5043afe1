"""Errors of the local stack that a person reads.

Does not belong here: programming errors, which stay what Python raises.
"""


class StackError(Exception):
    """Something about the local servers that a person can put right; the message says how."""


class NotReady(Exception):
    """A server does not answer yet; the message says what was asked and what came back."""
