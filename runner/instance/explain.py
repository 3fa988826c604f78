"""What an error that ends an instance is to the driver."""

from __future__ import annotations

import traceback

from runner.errors import RunnerError


def explain(error: BaseException) -> tuple[str, str, str]:
    """Reason, message and traceback: errors of ours as they are, of the system as storage, all else as a defect."""
    if isinstance(error, RunnerError):
        return error.reason, str(error), ""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return "STORAGE_FAILED", f"{where}{error.strerror or error}", ""
    return "INTERNAL", f"the instance failed: {error!r}", "".join(traceback.format_exception(error))
