"""The one exception that reaches a client, with AWS's own codes."""

from typing import Any


class ApiError(Exception):
    """A refusal in AWS's form.

    Args:
        code: The AWS error code, such as `ValidationException` or `NoSuchKey`.
        message: What happened, the value, the rule, the way out.
        status: The HTTP status; None takes it from the model's error shape, else 400.
        members: Further members of the modelled error shape (`OriginalStatusCode`, …).
    """

    def __init__(self, code: str, message: str, status: int | None = None, **members: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.members = members


def validation(message: str) -> ApiError:
    """A `ValidationException` with this message."""
    return ApiError("ValidationException", message, 400)
