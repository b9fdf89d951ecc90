"""The processes under test: a service whose workers can be killed, and a Valkey that can be killed and frozen."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from chaos.held_thread import HeldThread
from notifier.server.embedded_valkey import find_server
from tests.kit import service

_START_WITHIN = 15.0  # seconds


class Valkey:
    """A server with an append-only file, on a Unix socket in a directory of its own."""

    def __init__(self, appendfsync: str = "no") -> None:
        self._appendfsync = appendfsync
        self.directory = Path(tempfile.mkdtemp(prefix="chaos-"))
        self.socket = str(self.directory / "valkey.sock")
        self._process: subprocess.Popen[bytes] | None = None
        self._held: HeldThread | None = None

    @property
    def is_running(self) -> bool:
        """Whether there is a process, even if it is frozen."""
        return self._process is not None

    async def start(self) -> None:
        """Start it with its stored data, and wait until it answers."""
        options = {
            "port": "0",
            "unixsocket": self.socket,
            "dir": str(self.directory),
            "logfile": str(self.directory / "valkey.log"),
            "appendonly": "yes",
            "appendfsync": self._appendfsync,
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen(
            [find_server(), *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        async with asyncio.timeout(_START_WITHIN):
            while not await self._answers():
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        """Kill it, as the kernel does when memory runs out."""
        process, self._process = self._process, None
        if process:
            process.kill()  # works even if it is frozen
            if self._held:
                self._held.reap()
                self._held = None
            process.wait()

    def hold_flush(self) -> None:
        """Hold the thread that flushes the file, as a slow disk does."""
        assert self._process
        self._held = HeldThread(self._process.pid, "bio_aof")

    def continue_flush(self) -> None:
        """Continue the thread that flushes the file."""
        held, self._held = self._held, None
        if held:
            held.release()

    async def unwritten(self) -> int:
        """Return how many bytes of acknowledged writes it keeps in memory because of a flush."""
        answer = await self.command("INFO", "persistence")
        assert isinstance(answer, dict)
        return int(answer["aof_buffer_length"]) if answer["aof_pending_bio_fsync"] else 0

    def freeze(self) -> None:
        """Stop it; its sockets stay open."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue a frozen process."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)

    async def command(self, *words: str) -> object:
        """Return the answer to a command."""
        async with self._client() as client:
            return await client.execute_command(*words)

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection, for the proxy."""
        return await asyncio.open_unix_connection(self.socket)

    def wipe(self) -> None:
        """Delete all data."""
        shutil.rmtree(self.directory / "appendonlydir", ignore_errors=True)

    def remove(self) -> None:
        """Stop it, and delete its data."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    async def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError, OSError):
            return bool(await self.command("PING"))
        return False

    def _client(self) -> redis.asyncio.Redis:
        return redis.asyncio.Redis(unix_socket_path=self.socket, socket_timeout=2, retry=Retry(NoBackoff(), 0))


class Service(service.Service):
    """The service of the tests, whose workers can be killed."""

    @property
    def is_running(self) -> bool:
        """Whether it has been started and not stopped."""
        return self._process is not None

    def is_ready(self) -> bool:
        """Return whether it answers. Readiness is not required, because other faults may prevent it."""
        assert self._process and self._process.poll() is None, self.log
        with contextlib.suppress(OSError):
            return self.request("GET", "/healthz").status == 200
        return False

    def workers(self) -> list[int]:
        """Return the pids of the workers, including those that drain."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except (FileNotFoundError, AssertionError):
            return []
        return [int(pid) for pid in children]

    def kill_worker(self, pid: int) -> None:
        """Kill a worker if it still belongs to this service."""
        if pid in self.workers():
            os.kill(pid, signal.SIGKILL)

    def reload(self) -> None:
        """Replace all workers."""
        os.kill(self.pid, signal.SIGHUP)

    def tracebacks(self) -> int:
        """Return how many exceptions it has logged."""
        return self.log.count("Traceback (most recent call last)")

    def remove(self) -> None:
        """Stop it by all means, and delete its data."""
        process, workers = self._process, self.workers()
        try:
            self.stop()
        except AssertionError:
            for pid in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise
        finally:
            if process and process.poll() is None:
                process.kill()
                process.wait()
            shutil.rmtree(self.directory, ignore_errors=True)
