"""Starts programs without their imports, which take longer than most of what tests do with a program.

A server, a process of its own with one thread, imports a program once and forks a process for each start:

    process = server_of("notifier.cli.main").start(["notifier", "--help"], folder, environ)

Each process has its own arguments, folder, environment, standard streams and exit status, and gets its own signals.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from tests.kit import environment

_ROOT = Path(__file__).parent.parent.parent
_LONGEST = 200_000  # bytes of a request: the kernel's buffers hold more

# The functions of the operating system, before a program replaces them, as gevent does.
_fork, _waitpid = os.fork, os.waitpid


class ForkServer:
    """Starts processes that call `main()` of a module. `environ` is the environment of the module's imports."""

    def __init__(self, module: str, environ: Mapping[str, str]) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.kit.forks", str(theirs.fileno()), module],
                cwd=_ROOT,
                env={**environ, "PYTHONPATH": str(_ROOT)},
                # Python chooses the buffering of its standard streams when it starts: no terminal here.
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,
            )

    def start(
        self, words: Sequence[str | bytes], folder: Path, environ: Mapping[str, str], log: IO[bytes] | None = None
    ) -> "Forked":
        """Start a process with these arguments, of which the first is its name.

        With a log, the process writes its output there, reads nothing and leads a process group.
        """
        status, status_to = os.pipe()
        if log:
            process = Forked(status)
            theirs = [os.open(os.devnull, os.O_RDONLY), os.dup(log.fileno()), os.dup(log.fileno())]
        else:
            (stdin, to), (out, stdout), (err, stderr) = (os.pipe() for _ in range(3))
            process = Forked(status, os.fdopen(to, "wb"), os.fdopen(out, "rb"), os.fdopen(err, "rb"))
            theirs = [stdin, stdout, stderr]
        request = {
            "words": [os.fsdecode(word) for word in words],
            "folder": str(folder),
            "environ": dict(environ),
            "is_leader": log is not None,
        }
        socket.send_fds(self._requests, [json.dumps(request).encode()], [*theirs, status_to])
        for descriptor in (*theirs, status_to):
            os.close(descriptor)
        process.started()
        return process

    def close(self) -> None:
        """End the server. The processes that it has started go on."""
        self._requests.close()
        self._process.wait()


_servers: dict[str, ForkServer] = {}


def server_of(module: str) -> ForkServer:
    """Return the server of a module, of which there is one while the tests run."""
    if module not in _servers:
        _servers[module] = ForkServer(module, environment.basic())
    return _servers[module]


def close_servers() -> None:
    """End all servers."""
    while _servers:
        _servers.popitem()[1].close()


class Forked:
    """A process that a server has started, with the methods of a Popen."""

    def __init__(
        self,
        status: int,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
    ) -> None:
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.returncode: int | None = None
        self.pid = 0
        self._status = os.fdopen(status, "rb", buffering=0)

    def started(self) -> None:
        """Read the process id, which comes first."""
        self.pid = int(self._status.readline())

    def poll(self) -> int | None:
        """Return the exit status if the process has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process ends, and return its exit status."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self.returncode = os.waitstatus_to_exitcode(int(self._status.readline()))
            self._status.close()
        return self.returncode

    def communicate(self, input: bytes = b"", timeout: float | None = None) -> tuple[bytes, bytes]:
        """Write the input, read all output and wait for the end. A process that takes longer is killed."""
        assert self.stdin and self.stdout and self.stderr, "the process writes to a log"
        end = time.monotonic() + (threading.TIMEOUT_MAX if timeout is None else timeout)
        with ThreadPoolExecutor(3) as pool:
            writing = pool.submit(self._write, input)
            reading = [pool.submit(pipe.read) for pipe in (self.stdout, self.stderr)]
            try:
                for done in (writing, *reading):
                    done.result(max(0, end - time.monotonic()))
                self.wait(max(0, end - time.monotonic()))
            except (TimeoutError, subprocess.TimeoutExpired):
                self.kill()
                raise
        self.stdout.close()
        self.stderr.close()
        out, words = (done.result() for done in reading)
        return out, words

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended since, or its status is on the way
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _write(self, data: bytes) -> None:
        assert self.stdin
        with contextlib.suppress(BrokenPipeError), self.stdin:
            self.stdin.write(data)


def _serve(requests: socket.socket) -> bool:
    """Fork a process for each request: return True in that process, and False when the tests have ended."""
    while True:
        with contextlib.suppress(ChildProcessError):
            while _waitpid(-1, os.WNOHANG)[0]:
                pass
        data, descriptors, _, _ = socket.recv_fds(requests, _LONGEST, 4)
        if not data:
            return False
        if _fork() == 0:
            requests.close()
            _run(json.loads(data), *descriptors)
            return True
        for descriptor in descriptors:
            os.close(descriptor)


def _run(request: Any, stdin: int, stdout: int, stderr: int, status: int) -> None:
    """Fork the process and write its id and later its status; return in the process alone."""
    pid = _fork()
    if pid:
        for descriptor in (stdin, stdout, stderr):
            os.close(descriptor)
        if request["is_leader"]:
            os.setpgid(pid, pid)
        os.write(status, b"%d\n" % pid)
        os.write(status, b"%d\n" % _waitpid(pid, 0)[1])
        os._exit(0)
    os.close(status)
    if request["is_leader"]:
        os.setpgid(0, 0)
    for number, descriptor in enumerate((stdin, stdout, stderr)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.argv = request["words"]


def _call(main: Callable[[], object]) -> None:
    """Call the program, and end this process as Python does, but leave its memory to the operating system.

    To take down all modules takes longer than much of what tests do with a program.
    """
    status: object = 0
    try:
        main()
    except SystemExit as end:
        status = end.code or 0
        if not isinstance(status, int):
            raise
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):  # Python tries again, and reports the error
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status & 0xFF)
    sys.exit(status)


if __name__ == "__main__":
    tests = socket.socket(fileno=int(sys.argv[1]))
    main = importlib.import_module(sys.argv[2]).main
    gc.freeze()
    if _serve(tests):
        _call(main)
