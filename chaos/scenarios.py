"""Scenarios: which faults are combined, and with which settings."""

from chaos import client_faults as of_clients
from chaos import disk_faults as of_disk
from chaos import faults
from chaos.scenario import Scenario

_SERVICE = (faults.kill_worker, faults.reload, faults.restart)
_VALKEY = (
    faults.kill_valkey,
    faults.freeze_valkey,
    faults.refuse_writes,
    faults.kill_subscribers,
    faults.overflow,
)
_DEAD = (faults.silence_subscriber, faults.hold_broker, faults.die_in_write)
_BROKER = (*_DEAD, faults.delay_broker, faults.cut_broker)
_CLIENTS = (
    of_clients.cut_clients,
    of_clients.leave,
    of_clients.arrive,
    of_clients.read_slowly,
    of_clients.wander,
)
_NETWORK = (
    of_clients.hold_clients,
    of_clients.delay_clients,
    of_clients.half_close_clients,
    of_clients.refuse_clients,
)

SCENARIOS = {
    "mixed": Scenario((_SERVICE, _VALKEY, _BROKER, _CLIENTS, _NETWORK), inbox=True),
    # Few users with many connections each.
    "inbox": Scenario((_DEAD, (*_VALKEY, faults.kill_worker), _CLIENTS, _NETWORK), names=6, inbox=True),
    "workers": Scenario((_SERVICE, _CLIENTS)),
    "valkey": Scenario((_VALKEY, _CLIENTS)),
    # Connections are aborted during delays: commands may be executed whose replies are lost.
    "broker": Scenario((_DEAD, (faults.delay_broker,), (faults.cut_broker,), _CLIENTS)),
    "network": Scenario((_CLIENTS, _NETWORK)),
    # Topics are left and joined while reading the log takes long.
    "wander": Scenario(((of_clients.wander,), (faults.delay_broker, faults.cut_broker), (of_clients.cut_clients,))),
    # No connection ends: a gap is noticed with the next entry of the channel.
    "swallow": Scenario(((faults.swallow,),), follow_up=True, names=4, pause=0.05),
    # More is published than is stored: slow and reconnecting clients must receive `lost` frames.
    "bounded": Scenario(
        (
            (faults.burst,),
            (of_clients.leave, of_clients.read_slowly, of_clients.cut_clients, of_clients.publish_offline),
            (faults.kill_subscribers,),
        ),
        {"max_history": 100, "recent_bytes": 0},
        bounded=True,
    ),
    # Production timeouts, and a Valkey that freezes for longer than all of them.
    "frozen": Scenario(
        ((faults.freeze_valkey_for_long,), (of_clients.cut_clients, of_clients.leave, of_clients.arrive)),
        {"broker_heartbeat": 2.5, "broker_deadline": 10, "redis_timeout": 3, "attach_timeout": 10},
        seconds=45,
    ),
    # Memberships and mutes change often.
    "members": Scenario(
        ((faults.delay_broker,), (of_clients.cut_clients, of_clients.arrive)),
        names=6,
        inbox=True,
        changes=0.8,
        provoked=1.0,
        pause=0.3,
    ),
    # The same, and workers learn of it late, because their subscription is dead or refused.
    "late": Scenario(
        (
            (faults.silence_subscriber, faults.deafen, faults.kill_subscribers),
            (of_clients.cut_clients, of_clients.leave, of_clients.arrive),
        ),
        {"broker_deadline": 6},
        names=6,
        inbox=True,
        changes=0.8,
        provoked=1.0,
        pause=0.3,
    ),
    # Tabs that share a connection publish, come and go, and ask for the past of topics.
    "tabs": Scenario(
        ((of_clients.wander,), (of_clients.leave, of_clients.cut_clients), (*_NETWORK, faults.kill_worker)),
        names=8,
        tabs=True,
    ),
    # Valkey keeps acknowledged writes in memory while a flush takes long, and is killed then. Inboxes are lost, too.
    "disk": Scenario(
        (
            (of_disk.kill_while_offline, of_disk.slow_disk, of_disk.kill_on_slow_disk),
            (of_clients.cut_clients, of_clients.leave, faults.burst),
        ),
        appendfsync="everysec",
    ),
    # Live clients lose their sockets between two channels, and more is published than is stored.
    "torn": Scenario(
        ((of_clients.tear,), (of_clients.cut_clients,)),
        {"max_history": 100, "recent_bytes": 0},
        names=4,
        bounded=True,
    ),
}
