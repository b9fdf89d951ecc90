"""Proxies between client and service, configured as in docs/deploy, and misconfigured ones.

    with Service() as service, nginx(service.port) as proxy:
        seen = service.behind(proxy.port, proxy.tls)

    with enemy(service.port, upgrades="stripped", buffers=True) as proxy:
        page.goto(f"http://127.0.0.1:{proxy.port}/")

Each is a separate daemon in a temporary directory. The proxies of the system are not used.
"""

import atexit
import contextlib
import functools
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, Self

from tests.kit import environment, processes
from tests.kit.ports import free_port
from tests.kit.waiting import eventually

DEPLOY = Path(__file__).parent.parent.parent / "docs/deploy"
_PATHS = "/usr/sbin:/usr/bin"  # where Debian has the daemons; not every PATH has /usr/sbin
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")  # nginx creates all of them


class Certificate(NamedTuple):
    """Paths of a self-signed certificate for 127.0.0.1: its chain, its key, and both in one file."""

    chain: Path
    key: Path
    both: Path


@functools.cache
def certificate() -> Certificate:
    """Return the certificate of this run."""
    directory = Path(tempfile.mkdtemp(prefix="notifier-tls-"))
    atexit.register(shutil.rmtree, directory)
    made = Certificate(*(directory / name for name in ("chain.pem", "key.pem", "both.pem")))
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]  # handshakes cost less than with RSA
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", made.chain, "-keyout", made.key]
    processes.run(command, check=True, capture_output=True)
    made.both.write_bytes(made.chain.read_bytes() + made.key.read_bytes())
    return made


def _trusting() -> ssl.SSLContext:
    """Return a context in which Python's clients trust the certificate.

    Not TLS 1.3: the package websockets writes while another thread reads, and a session ticket that comes just then
    stalls OpenSSL. The tests use TLS 1.3 with curl.
    """
    context = ssl.create_default_context(cafile=certificate().chain)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


class Proxy:
    """A daemon between `port` and a service. `tls` is None if it uses plain HTTP."""

    def __init__(self, command: list[str], config: Callable[[Path], str], port: int, tls: bool = True) -> None:
        self.port = port
        self.tls = _trusting() if tls else None
        self._command = command
        self._config = config
        self._directory = Path(tempfile.mkdtemp(prefix="notifier-proxy-"))
        self._log = self._directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._directory.chmod(0o711)  # its workers may have fewer rights
        config = self._directory / "config"
        config.write_text(self._config(self._directory))
        environ = environment.basic() | {"HOME": str(self._directory), "XDG_DATA_HOME": str(self._directory)}
        with self._log.open("wb") as log:
            program = shutil.which(self._command[0], path=_PATHS)
            assert program, f"{self._command[0]} is not installed"
            command = [program, *self._command[1:], str(config)]
            self._process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        try:
            eventually(self._listens)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._directory)

    def _listens(self) -> bool:
        assert self._process and self._process.poll() is None, self._log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False


def is_installed(name: str) -> bool:
    """Return whether a daemon is installed."""
    return shutil.which(name, path=_PATHS) is not None


def nginx(*services: int, idle: int = 60) -> Proxy:
    """Return nginx as in docs/deploy, in front of services on these ports. `idle` is a timeout in seconds."""
    port, plain = free_port(), free_port()

    def config(directory: Path) -> str:
        return _filled(
            "nginx.conf",
            {
                "pid /run/nginx.pid;": f"pid {directory}/pid;",
                "http {": f"http {{\n    access_log off;\n    {_temporary(directory)}",
                "        server 127.0.0.1:8080 fail_timeout=2s;\n": "".join(
                    f"        server 127.0.0.1:{service} fail_timeout=2s;\n" for service in services
                ),
                "listen 443": f"listen 127.0.0.1:{port}",
                "listen 80": f"listen 127.0.0.1:{plain}",
                "/etc/ssl/notifier/fullchain.pem": str(certificate().chain),
                "/etc/ssl/notifier/privkey.pem": str(certificate().key),
                "proxy_read_timeout 60s;": f"proxy_read_timeout {idle}s;",
            },
        )

    return _nginx(config, port)


def caddy(*services: int, idle: int = 60) -> Proxy:
    """Return Caddy as in docs/deploy, but with a given certificate, which it would fetch in production."""
    port, plain = free_port(), free_port()
    addresses = " ".join(f"127.0.0.1:{service}" for service in services)
    options = f"{{\n\tadmin off\n\tskip_install_trust\n\thttp_port {plain}\n\thttps_port {port}\n}}\n"
    options += f"https://127.0.0.1:{port} {{\n\tbind 127.0.0.1\n\ttls {certificate().chain} {certificate().key}"

    def config(_: Path) -> str:
        return _filled(
            "Caddyfile",
            {
                "notify.example.com {": options,
                "reverse_proxy 127.0.0.1:8080": f"reverse_proxy {addresses}",
                "read_timeout 60s": f"read_timeout {idle}s",
                "lb_try_duration 5s": "lb_try_duration 1s",  # a test that stops the service waits this long
            },
        )

    return Proxy(["caddy", "run", "--adapter", "caddyfile", "--config"], config, port)


def haproxy(*services: int, idle: int = 60) -> Proxy:
    """Return HAProxy as in docs/deploy."""
    port, plain = free_port(), free_port()
    rights = "    user haproxy\n    group haproxy\n"

    def config(_: Path) -> str:
        return _filled(
            "haproxy.cfg",
            {
                "maxconn 32000": "maxconn 1000",  # a test machine may allow fewer open files
                rights: rights if os.geteuid() == 0 else "",
                "bind :443": f"bind 127.0.0.1:{port}",
                "bind :80": f"bind 127.0.0.1:{plain}",
                "/etc/ssl/notifier/both.pem": str(certificate().both),
                "    server one 127.0.0.1:8080\n": "".join(
                    f"    server s{service} 127.0.0.1:{service}\n" for service in services
                ),
                "timeout client 60s": f"timeout client {idle}s",
                "timeout server 60s": f"timeout server {idle}s",
                "timeout tunnel 60s": f"timeout tunnel {idle}s",
            },
        )

    return Proxy(["haproxy", "-db", "-f"], config, port)


KINDS: Mapping[str, Callable[..., Proxy]] = {"nginx": nginx, "caddy": caddy, "haproxy": haproxy}

Upgrades = Literal["passed", "stripped", "400", "426"]


def enemy(service: int, upgrades: Upgrades = "passed", buffers: bool = False) -> Proxy:
    """Return a misconfigured nginx, on plain HTTP.

    upgrades: the fate of upgrade requests. "stripped": they arrive as plain requests; "400" and "426": nginx
        rejects them with this status.
    buffers: answers are held back until they have 64 KB or end, against the service's headers.
    """
    port = free_port()
    refusal = f"if ($http_upgrade) {{ return {upgrades}; }}" if upgrades.isdecimal() else ""
    passing = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
    holding = "proxy_ignore_headers X-Accel-Buffering; proxy_buffering on; proxy_buffers 8 64k; proxy_buffer_size 64k;"

    def config(directory: Path) -> str:
        return f"""
            pid {directory}/pid;
            events {{ }}
            http {{
                access_log off;
                {_temporary(directory)}
                server {{
                    listen 127.0.0.1:{port};
                    {refusal}
                    location / {{
                        proxy_pass http://127.0.0.1:{service};
                        proxy_http_version 1.1;
                        proxy_set_header Host $http_host;
                        {passing if upgrades == "passed" else ""}
                        {holding if buffers else ""}
                    }}
                }}
            }}
            """

    return _nginx(config, port, tls=False)


def _nginx(config: Callable[[Path], str], port: int, tls: bool = True) -> Proxy:
    return Proxy(["nginx", "-e", "stderr", "-g", "daemon off;", "-c"], config, port, tls)


def _temporary(directory: Path) -> str:
    return " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in _TEMPORARY)


def _filled(name: str, values: Mapping[str, str]) -> str:
    """Return a file of docs/deploy, with the values of a machine replaced."""
    text = (DEPLOY / name).read_text()
    for old, new in values.items():
        assert text.count(old) == 1, f"{name} has {old!r} {text.count(old)} times"
        text = text.replace(old, new)
    return text
