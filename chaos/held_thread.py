"""Holding one thread of another process, as if its system call took long.

`ptrace` can stop a single thread of a child process, without a compiler and without privileges. It does not work where
containers forbid it.
"""

import contextlib
import ctypes
import os
from pathlib import Path

_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
_ALL = 0x40000000  # __WALL: threads, too

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long] * 4
_libc.ptrace.restype = ctypes.c_long


class HeldThread:
    """A thread that is stopped until `release`. All methods must be called by the same thread.

    Raises:
        OSError: there is no such thread, or it may not be stopped.
    """

    def __init__(self, pid: int, name: str) -> None:
        self._id = _find(pid, name)
        _ptrace(_SEIZE, self._id)
        _ptrace(_INTERRUPT, self._id)
        os.waitpid(self._id, _ALL)

    def release(self) -> None:
        """Continue the thread."""
        with contextlib.suppress(ProcessLookupError):
            _ptrace(_DETACH, self._id)

    def reap(self) -> None:
        """Take notice of the end of the thread: until then, its killed process does not end."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._id, _ALL)


def _find(pid: int, name: str) -> int:
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip().startswith(name):
            return int(task.name)
    raise ProcessLookupError(f"process {pid} has no thread {name}")


def _ptrace(request: int, thread: int) -> None:
    if _libc.ptrace(request, thread, 0, 0) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
