"""Why a request is refused, with the HTTP status each reason has.

RefusedError (TrackingError)
|-- BadRequestError 400      |-- UnauthenticatedError 401   |-- ForbiddenError 403
|-- MissingError 404         |-- ConflictError 409          |-- TooLargeError 413
`-- RetryLaterError 503      the client should send the same again
"""

from typing import ClassVar

from composer.errors import TrackingError


class RefusedError(TrackingError):
    """A request that is not carried out; the message is shown to the user."""

    status: ClassVar[int] = 400


class BadRequestError(RefusedError):
    """The request makes no sense as sent."""


class UnauthenticatedError(RefusedError):
    """No valid key came with the request."""

    status: ClassVar[int] = 401


class ForbiddenError(RefusedError):
    """The key is valid, and this is not its to touch."""

    status: ClassVar[int] = 403


class MissingError(RefusedError):
    """There is no such thing, or not for this user."""

    status: ClassVar[int] = 404


class ConflictError(RefusedError):
    """It clashes with what is there."""

    status: ClassVar[int] = 409


class TooLargeError(RefusedError):
    """More than is accepted at once."""

    status: ClassVar[int] = 413


class RetryLaterError(RefusedError):
    """The disk is full or the server is stopping; nothing was stored, and trying again may work."""

    status: ClassVar[int] = 503
