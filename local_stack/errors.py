"""Errors of the local stack."""


class StackError(Exception):
    """An error of the local servers that the user can fix; the message says how."""


class NotReady(Exception):
    """A server does not answer yet; the message names the request and the answer."""
