"""The configuration of the workers: what the gunicorn master has read, which they inherit.

A reload reads the files with secrets again. If they are not valid, the workers keep the settings of before.
"""

from collections.abc import Mapping

from notifier.settings import Settings

_inherited: Settings | None = None


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings for all workers that start from now on.

    Raises:
        SettingError: nothing has changed.
    """
    global _inherited
    _inherited = Settings.from_environ(environ).require_secrets()
    return _inherited


def current(environ: Mapping[str, str]) -> Settings:
    """Return the settings of this worker. Without a master that has read them, they are read now.

    Raises:
        SettingError
    """
    return _inherited or load(environ)
