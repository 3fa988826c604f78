"""`EntryScript`: a script's own log file and folders, told by environment variables, so child processes have it too."""

from __future__ import annotations

import logging
import os
from typing import ClassVar

_LINE = "%(asctime)s|%(levelname)s|%(process)d|%(thread)d|%(message)s"


class EntryScript:
    """One object per process, usable while the script is imported and ever after."""

    _instance: ClassVar[EntryScript | None] = None

    def __new__(cls) -> EntryScript:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    @property
    def agent_name(self) -> str:
        """The worker's name, `processNNN`."""
        return os.environ.get("RUNNER_WORKER", "")

    @property
    def log_dir(self) -> str:
        """The folder of this node's entry script logs."""
        return os.environ.get("RUNNER_ENTRY_SCRIPT_LOG_DIR", "")

    @property
    def output_dir(self) -> str:
        """The folder of the job's output."""
        return os.environ.get("AZUREML_BI_OUTPUT_PATH", "")

    @property
    def working_dir(self) -> str:
        """The working directory of the script: its code folder."""
        return os.getcwd()

    @property
    def logger(self) -> logging.Logger:
        """Writes to `<log_dir>/<agent_name>.log.txt`."""
        logger = logging.getLogger("EntryScript")
        if not any(isinstance(handler, _EntryScriptHandler) for handler in logger.handlers):
            os.makedirs(self.log_dir or ".", exist_ok=True)
            handler = _EntryScriptHandler(os.path.join(self.log_dir, f"{self.agent_name or 'process'}.log.txt"))
            handler.setFormatter(logging.Formatter(_LINE))
            logger.addHandler(handler)
            logger.setLevel(os.environ.get("RUNNER_LOGGING_LEVEL", "INFO"))
            logger.propagate = False
        return logger


class _EntryScriptHandler(logging.FileHandler):
    def __init__(self, path: str) -> None:
        super().__init__(path, mode="a", encoding="utf-8", errors="backslashreplace")
