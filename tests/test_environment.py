"""Tests start programs with named variables, default signals, and an end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.kit import environment, processes

ROOT = Path(__file__).parent.parent
CHILD_OF_ONE_THAT_IGNORES = """
import os, signal, subprocess
from tests.kit import environment
for number in environment.SIGNALS:
    signal.signal(number, signal.SIG_IGN)
environment.stop_ignoring_signals()
os.kill(os.getpid(), signal.SIGINT)  # still does nothing
subprocess.run(["grep", "SigIgn", "/proc/self/status"], check=True)
"""


def test_variables() -> None:
    """A command gets what reaches the package indexes, and nothing else of the outside."""
    given = {"PATH": os.environ["PATH"], "HOME": "/root", "HTTPS_PROXY": "p", "no_proxy": "n", "PIP_CERT": "c"}
    others = {"PYTHONUNBUFFERED": "1", "NOTIFIER_URL": "http://127.0.0.1:9", "PIP_REQUIRE_VIRTUALENV": "1"}
    command = [sys.executable, environment.__file__, "env", "-0"]
    out = processes.run(command, env=given | others, capture_output=True, text=True, check=True).stdout
    assert dict(line.split("=", 1) for line in out.split("\0") if line) == given


def test_signals() -> None:
    """A program starts with the default signals, also where the tests run with ignored ones."""
    command = [sys.executable, "-c", CHILD_OF_ONE_THAT_IGNORES]
    done = processes.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    ignored = int(done.stdout.split()[1], 16)
    assert not [number for number in environment.SIGNALS if ignored >> (number - 1) & 1]


def test_end() -> None:
    """Programs that still run are ended: with SIGTERM, and with SIGKILL where they ignore it."""
    sleeping = processes.start(["sleep", "600"])
    ignoring = processes.start(["sh", "-c", "trap '' TERM; echo ready; exec sleep 600"], stdout=subprocess.PIPE)
    assert ignoring.stdout and ignoring.stdout.readline() == b"ready\n"
    processes.end_all(patience=0.1)
    assert (sleeping.returncode, ignoring.returncode) == (-signal.SIGTERM, -signal.SIGKILL)
