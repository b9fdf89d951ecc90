"""The environment of the programs that tests start: the variables that are named here, and no others.

    python3 tests/kit/environment.py make test

runs a command with only the variables that it needs to reach the package indexes.
"""

import os
import resource
import signal
import sys

_BASIC = {"path", "home"}

# In lower case: some are written both ways.
_PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
_CERTIFICATES = {
    "ssl_cert_file",
    "ssl_cert_dir",
    "curl_ca_bundle",
    "requests_ca_bundle",
    "git_ssl_cainfo",
    "node_extra_ca_certs",
}
_PIP = {
    "pip_cert",
    "pip_client_cert",
    "pip_config_file",
    "pip_constraint",
    "pip_default_timeout",
    "pip_extra_index_url",
    "pip_find_links",
    "pip_index_url",
    "pip_proxy",
    "pip_retries",
    "pip_trusted_host",
}
_NPM = {
    "npm_config_cafile",
    "npm_config_globalconfig",
    "npm_config_https_proxy",
    "npm_config_noproxy",
    "npm_config_proxy",
    "npm_config_registry",
    "npm_config_userconfig",
}
_APT = {"apt_config"}
_INSTALLING = _BASIC | _PROXIES | _CERTIFICATES | _PIP | _NPM | _APT

_OPEN_FILES = 20_000

# A shell starts background jobs with SIGINT ignored, nohup ignores SIGHUP.
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


def basic(**variables: str) -> dict[str, str]:
    """Return the environment of a program that installs nothing: PATH, HOME and these variables."""
    return _named(_BASIC) | variables


def installing(**variables: str) -> dict[str, str]:
    """Return the environment of a program that installs packages: with the proxies, indexes and certificates."""
    return _named(_INSTALLING) | variables


def stop_ignoring_signals() -> None:
    """Handle, by doing nothing, the signals that this process inherited as ignored.

    A program inherits an ignored signal from the process that starts it, but not a handler. So this process goes on as
    before, and the programs that it starts have the defaults.
    """
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def allow_open_files() -> None:
    """Allow this process and the programs that it starts the open files of a service. A shell often allows 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _named(names: set[str]) -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if name.lower() in names}


if __name__ == "__main__":
    os.execvpe(sys.argv[1], sys.argv[1:], installing())
