"""What a server says no to, beside what the command line refuses as well."""

from http import HTTPStatus

from genrender.errors import GenRenderError


class Refused(GenRenderError):
    """A request that is not answered as it was meant.

    Args:
        message: one line, as for all errors.
        status: of HTTP.
        field: the setting that it is about, where that is known.
    """

    def __init__(self, message: str, status: int = HTTPStatus.UNPROCESSABLE_ENTITY, field: str | None = None):
        super().__init__(message)
        self.status = status
        self.field = field


def not_found(what: str) -> Refused:
    """There is no such thing."""
    return Refused(f"there is no {what}; it may have been deleted", HTTPStatus.NOT_FOUND)


def conflict(message: str) -> Refused:
    """It is not in the state for that."""
    return Refused(message, HTTPStatus.CONFLICT)


def too_large(message: str) -> Refused:
    """More than a request or a job may hold."""
    return Refused(message, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
