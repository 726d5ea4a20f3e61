"""What other modules raise, as the sentence with which a command ends."""

import errno

from botocore.exceptions import BotoCoreError, ClientError

from loopwright.running import NotRunning
from loopwright.wire.errors import ApiError


def sentence(error: Exception) -> str | None:
    """What to tell of an exception; None for a fault of ours, whose traceback is wanted."""
    if isinstance(error, ApiError):
        return error.message
    if isinstance(error, NotRunning):
        return str(error)
    if isinstance(error, ClientError):
        return str(error.response["Error"].get("Message") or error)
    if isinstance(error, BotoCoreError):
        return f"{error} Is `loopwright serve` running on this home? `loopwright ps` says."
    if isinstance(error, PermissionError) and error.filename is not None:
        return f"{error.filename} may not be used: {error.strerror}."
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{error.filename or 'The output'} could not be written: {error.strerror}."
    return None
