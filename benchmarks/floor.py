"""The floor: what the kernel alone needs for a write to each of many sockets, on this machine at this moment."""

import os
import select
import socket
import time


def microseconds_per_write(connections, rate, seconds, size):
    """Return the CPU time of one `os.write` of `size` bytes, in microseconds, with a peer that reads.

    Each round writes to every connection, `rate` rounds per second, like the fan-out of the paced measure, but nothing
    is encoded, looked up or parsed. On loopback the sender's time includes the receiver's half of TCP.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=connections) as server:
        reader = os.fork()
        if not reader:
            read_until_the_end(server.getsockname(), connections)
        sockets = [server.accept()[0] for _ in range(connections)]
        try:
            return timed_rounds([sock.fileno() for sock in sockets], b"x" * size, rate, int(rate * seconds))
        finally:
            for sock in sockets:
                sock.close()
            os.waitpid(reader, 0)


def timed_rounds(descriptors, data, rate, rounds):
    """Write to all descriptors, round after round, and return the CPU time per write."""
    begin, used = time.monotonic(), 0.0
    for number in range(rounds):
        time.sleep(max(0, begin + number / rate - time.monotonic()))
        before = time.process_time()
        for descriptor in descriptors:
            os.write(descriptor, data)
        used += time.process_time() - before
    return used / rounds / len(descriptors) * 1e6


def read_until_the_end(address, connections):
    """Read, in a process of its own, until every connection is closed."""
    poller = select.epoll()
    sockets = {}
    for _ in range(connections):
        sock = socket.create_connection(address)
        sockets[sock.fileno()] = sock
        poller.register(sock, select.EPOLLIN)
    while sockets:
        for descriptor, _ in poller.poll():
            if not os.read(descriptor, 65536):
                sockets.pop(descriptor).close()
    os._exit(0)
