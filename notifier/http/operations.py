"""What `GET /v1/status` tells an operator: with what a worker runs, and which Redis it uses."""

import resource
from collections.abc import Mapping
from typing import Any

from notifier import __version__
from notifier.settings import Settings


def describe(settings: Settings, info: Mapping[str, str]) -> dict[str, Any]:
    """Return the status. `info` is what Redis tells of itself, see the INFO command."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "version": __version__,
        "workers": settings.workers,
        "open_files": files,
        "max_connections": settings.connection_limit,
        "cookie": settings.cookie,
        "heartbeat": settings.heartbeat,
        "redis": {
            "server": info.get("server_name", "redis"),
            "version": info.get("valkey_version", info.get("redis_version", "")),
            "append_only": info.get("aof_enabled") == "1",
            "maxmemory": int(info.get("maxmemory", 0)),
            "maxmemory_policy": info.get("maxmemory_policy", ""),
            "replicas": int(info.get("connected_slaves", 0)),
        },
    }
