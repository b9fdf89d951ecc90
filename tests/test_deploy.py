"""The files for systemd and for containers agree with gunicorn, the settings and the routes."""

import re
import shutil
from pathlib import Path

import pytest

from notifier.settings import PREFIX, ConnectionSettings, Settings
from tests.kit import processes

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "docs/deploy/notifier.service"
DOCKERFILE, COMPOSE = (ROOT / "Dockerfile").read_text(), (ROOT / "compose.yaml").read_text()
PODS = (ROOT / "docs/deploy/kubernetes/notifier.yaml").read_text()
GRACE, VALKEY = 8, 10  # seconds: until gunicorn kills, and for the embedded Valkey


def test_time_to_stop() -> None:
    """systemd waits until the workers have drained, gunicorn has killed and the embedded Valkey has ended."""
    [timeout] = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert int(timeout) > ConnectionSettings.drain_timeout + GRACE + VALKEY


def test_time_to_stop_of_containers() -> None:
    """Docker and Kubernetes wait until the workers have drained and gunicorn has killed; Valkey is separate."""
    [compose] = re.findall(r"^  notifier:.*?stop_grace_period: (\d+)s$", COMPOSE, re.MULTILINE | re.DOTALL)
    [pods] = re.findall(r"^ +terminationGracePeriodSeconds: (\d+)$", PODS, re.MULTILINE)
    [wait] = re.findall(r'command: \[sleep, "(\d+)"\]', PODS)
    assert int(compose) > ConnectionSettings.drain_timeout + GRACE
    assert int(pods) > int(wait) + ConnectionSettings.drain_timeout + GRACE


def test_image() -> None:
    """The image has all that it needs, runs as the user that the manifests name, and may not write its code."""
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.MULTILINE)
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(copied) == sorted(allowed) == ["notifier", "requirements.txt"]
    [user] = re.findall(r"^USER (\d+):\d+$", DOCKERFILE, re.MULTILINE)
    assert f"useradd --uid {user}" in DOCKERFILE and f"runAsUser: {user}" in PODS
    assert "readOnlyRootFilesystem: true" in PODS and COMPOSE.count("read_only: true") == COMPOSE.count("image: ")


def test_health_checks() -> None:
    """Only /healthz may end a container: /readyz depends on Redis."""
    probes = dict(re.findall(r"(\w+)Probe:\n +httpGet: \{ path: (\S+),", PODS))
    assert probes == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    check = DOCKERFILE.partition("\nHEALTHCHECK ")[2].partition("\nENTRYPOINT ")[0]
    assert "/healthz" in check and "/readyz" not in check


def test_variables() -> None:
    """The image and the manifests set only settings that exist."""
    named = set(re.findall(r"\b(NOTIFIER_[A-Z_]+)\b", DOCKERFILE + COMPOSE + PODS))
    assert {"NOTIFIER_BIND", "NOTIFIER_DATA_DIR", "NOTIFIER_REDIS_URL"} <= named
    assert named <= {PREFIX + name.upper() for name in Settings.described()}


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """systemd finds no fault with the unit, whose program is put somewhere else here."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/notifier/.venv/bin/gunicorn", "/bin/true"))
    done = processes.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, complaints) == (0, [])
