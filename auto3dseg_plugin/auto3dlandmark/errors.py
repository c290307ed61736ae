# SPDX-License-Identifier: Apache-2.0
"""The one kind of error that is for people: data that cannot be used, said in a sentence."""

from __future__ import annotations

import errno
from typing import Any

__all__ = ["LandmarkError", "disk_error", "readable_error"]


class LandmarkError(ValueError):
    """Data that cannot be used; the message says which file, what is wrong and what to do."""


def readable_error(error: BaseException, context: str) -> LandmarkError:
    """
    The LandmarkError somewhere behind an exception, or one that gives the innermost reason.
    """
    innermost: Any = error
    while innermost is not None:
        if isinstance(innermost, LandmarkError):
            return innermost
        last, innermost = innermost, innermost.__cause__ or innermost.__context__
    reason = (str(last).strip() or type(last).__name__).splitlines()[0]
    return LandmarkError(f"{context} ({type(last).__name__}: {reason[:200]}).")


def disk_error(error: BaseException | None) -> str | None:
    """
    What is wrong with the disk, in a word, when that is what an error comes from: ``full`` or ``read-only``.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return "full"
        if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            return "read-only"
        error = error.__cause__
    return None
