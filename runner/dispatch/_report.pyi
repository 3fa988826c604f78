# Docstrings stand in native/runner/dispatch/_report.pyx, beside what they promise.
import numpy as np
import numpy.typing as npt

def format_lines(records: npt.NDArray[np.void], start: int, stop: int) -> bytes: ...
