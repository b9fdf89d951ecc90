"""A herd: many clients on one epoll that lose their connections, and reconnect with a cursor as the protocol says."""

import errno
import heapq
import itertools
import os
import random
import select
import socket
import struct
import time

import msgspec

UPGRADE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bm90aWZpZXItbG9hZGluZw==\r\n\r\n"
)
AWAY, CONNECTING, UPGRADING, GREETING, RESUMING, LIVE = range(6)
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
MASK = b"\0\0\0\0"  # leaves the payload as it is
LONGEST_PAUSE = 1.0  # seconds before another attempt, unless the service has named a time


class Notification(msgspec.Struct):
    """A notification of a storm. `data` is its number."""

    data: int


class Frame(msgspec.Struct):
    """A frame of the service with the fields that a client needs."""

    type: str
    cursor: str = ""
    notification: Notification | None = None
    retry_after_ms: int = 0
    lost: list[str] = []
    channels: list[str] = []


decode = msgspec.json.Decoder(Frame).decode


class Member:
    """One client. `hello` is its first frame without the closing brace, `got` are the numbers that it has received."""

    __slots__ = ("connected", "cursor", "failures", "got", "hello", "left", "phase", "rest", "retry", "sock", "user")

    def __init__(self, user, hello):
        """Make a client that has never been connected."""
        self.user = user
        self.hello = hello[:-1].encode()
        self.phase, self.sock, self.rest = AWAY, None, b""
        self.cursor = ()
        self.got = set()
        self.left = self.connected = 0.0  # CLOCK_MONOTONIC: when it was last complete, and when TCP was connected again
        self.retry = None  # seconds, if the service has named them
        self.failures = 0

    def first_frame(self):
        """Return the hello, with the cursor if there is one."""
        since = b',"since":"%d-%d"' % self.cursor if self.cursor else b""
        return self.hello + since + b"}"


class Herd:
    """Many members and one loop, which runs while a caller waits for a condition with `run`.

    `attempts` are the times of all attempts to connect. Each completed reconnect adds to `recoveries` the seconds from
    the TCP connection to the end of the replay, and to `absences` the seconds since the client was last complete.
    `losses` counts reported losses, `refused` handshakes that were rejected.
    """

    def __init__(self, port, members):
        """Take members that are all disconnected."""
        self.members = members
        self.attempts, self.recoveries, self.absences = [], [], []
        self.losses = self.refused = 0
        self._address = ("127.0.0.1", port)
        self._poller = select.epoll()
        self._by_descriptor = {}
        self._timers, self._numbers = [], itertools.count()

    def __enter__(self):
        """Return the herd."""
        return self

    def __exit__(self, *error):
        """Drop all connections."""
        for member in self.members:
            self._drop(member)
        self._poller.close()

    def at(self, moment, function, *arguments):
        """Call a function at a time of CLOCK_MONOTONIC."""
        heapq.heappush(self._timers, (moment, next(self._numbers), function, arguments))

    def run(self, condition, seconds):
        """Serve all members until a condition holds; return False if it does not within `seconds`."""
        deadline = time.monotonic() + seconds
        while not condition():
            now = time.monotonic()
            if now > deadline:
                return False
            self._turn(now, min(deadline, now + 0.05))
        return True

    def rest(self, seconds):
        """Serve all members for some seconds."""
        self.run(lambda: False, seconds)

    def open(self, in_flight=64, seconds=120):
        """Connect all members for the first time, `in_flight` at once."""
        waiting = iter(self.members)
        coming = []

        def all_live():
            coming[:] = [member for member in coming if member.phase != LIVE]
            for member in itertools.islice(waiting, in_flight - len(coming)):
                coming.append(member)
                self.connect(member)
            return not coming

        if not self.run(all_live, seconds):
            raise RuntimeError("not all members could connect")

    def cut(self, member, back_at=None):
        """Drop a member's socket without a close frame; it reconnects at a time, or when `connect` is called."""
        self._drop(member)
        if back_at is not None:
            self.at(back_at, self.connect, member)

    def connect(self, member):
        """Start connecting a member."""
        if member.phase != AWAY:
            return
        self.attempts.append(time.monotonic())
        sock = member.sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        member.phase, member.rest, member.retry = CONNECTING, b"", None
        self._by_descriptor[sock.fileno()] = member
        if sock.connect_ex(self._address) not in (0, errno.EINPROGRESS):
            self._lost(member)
            return
        self._poller.register(sock, select.EPOLLOUT)

    def _turn(self, now, until):
        while self._timers and self._timers[0][0] <= now:
            _, _, function, arguments = heapq.heappop(self._timers)
            function(*arguments)
        if self._timers:
            until = min(until, self._timers[0][0])
        for descriptor, _ in self._poller.poll(max(until - time.monotonic(), 0)):
            member = self._by_descriptor.get(descriptor)
            if member is not None:
                self._ready(member)

    def _ready(self, member):
        try:
            if member.phase == CONNECTING:
                self._connected(member)
            else:
                self._read(member)
        except OSError:
            self._lost(member)

    def _connected(self, member):
        error = member.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        member.connected = time.monotonic()
        member.phase = UPGRADING
        self._poller.modify(member.sock, select.EPOLLIN)
        member.sock.send(UPGRADE)

    def _read(self, member):
        data = member.sock.recv(262144)
        if not data:
            self._lost(member)
            return
        data = member.rest + data if member.rest else data
        if member.phase == UPGRADING:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                member.rest = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.refused += 1
                self._lost(member)
                return
            member.phase = GREETING
            send(member.sock, TEXT, member.first_frame())
        start = 0
        while member.sock is not None and (found := read_frame(data, start)):
            opcode, payload, start = found
            self._take(member, opcode, payload)
        member.rest = data[start:]

    def _take(self, member, opcode, payload):
        if opcode == TEXT:
            self._take_text(member, decode(payload))
        elif opcode == PING:
            send(member.sock, PONG, payload)
        elif opcode == CLOSE:
            send(member.sock, CLOSE, payload)
            self._lost(member)

    def _take_text(self, member, frame):
        if frame.type == "notification":
            member.got.add(frame.notification.data)
        elif frame.type == "welcome":
            self._welcomed(member, frame)
            return
        elif frame.type == "drain":
            member.retry = frame.retry_after_ms / 1000
        elif frame.type == "lost":
            self.losses += 1
        if frame.cursor:
            member.cursor = max(member.cursor, cursor_of(frame.cursor))
            if frame.type == "ping" and member.phase == RESUMING:
                self._complete(member)

    def _welcomed(self, member, frame):
        member.failures = 0
        self.losses += bool(frame.lost)
        if member.cursor:
            member.phase = RESUMING
        else:
            member.cursor = cursor_of(frame.cursor)
            member.phase = LIVE

    def _complete(self, member):
        member.phase = LIVE
        now = time.monotonic()
        self.recoveries.append(now - member.connected)
        self.absences.append(now - member.left)

    def _lost(self, member):
        retry = member.retry
        if retry is None:
            retry = random.uniform(0, min(LONGEST_PAUSE, 0.1 * 2**member.failures))
            member.failures += 1
        self.cut(member, time.monotonic() + retry)

    def _drop(self, member):
        if member.sock is not None:
            del self._by_descriptor[member.sock.fileno()]
            member.sock.close()
        if member.phase == LIVE:
            member.left = time.monotonic()
        member.phase, member.sock = AWAY, None


def send(sock, opcode, payload):
    """Send a message. Messages are short and rare, so a socket that does not accept one at once is broken."""
    size = len(payload)
    head = (
        struct.pack("!BB", 0x80 | opcode, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x80 | opcode, 0xFE, size)
    )
    sock.send(head + MASK + payload)


def read_frame(data, start):
    """Return opcode and payload of the WebSocket frame at `start`, and its end; None: the frame is incomplete."""
    head = start + 2
    if len(data) < head:
        return None
    size = data[start + 1]
    if size > 125:
        wide = 2 if size == 126 else 8
        size, head = int.from_bytes(data[head : head + wide]), head + wide
    end = head + size
    if len(data) < end:
        return None
    return data[start] & 0x0F, data[head:end], end


def cursor_of(text):
    """Return a cursor as two numbers."""
    ms, _, sequence = text.partition("-")
    return int(ms), int(sequence)
