"""Scenarios: which faults meet, and what the service is set to."""

from chaos import faults
from chaos.arena import Scenario

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
_CLIENTS = (faults.cut_clients, faults.leave, faults.arrive, faults.read_slowly, faults.wander)
_NETWORK = (faults.hold_clients, faults.delay_clients, faults.half_close_clients, faults.refuse_clients)

SCENARIOS = {
    "mixed": Scenario((_SERVICE, _VALKEY, _BROKER, _CLIENTS, _NETWORK), inbox=True),
    # Few users, with many connections each.
    "inbox": Scenario((_DEAD, (*_VALKEY, faults.kill_worker), _CLIENTS, _NETWORK), names=6, inbox=True),
    "workers": Scenario((_SERVICE, _CLIENTS)),
    "valkey": Scenario((_VALKEY, _CLIENTS)),
    # A cut in the middle of a delay: what was carried out, and what was answered, are not the same.
    "broker": Scenario((_DEAD, (faults.delay_broker,), (faults.cut_broker,), _CLIENTS)),
    "network": Scenario((_CLIENTS, _NETWORK)),
    # The lanes of topics that come and go, while reading the log takes long.
    "wander": Scenario(((faults.wander,), (faults.delay_broker, faults.cut_broker), (faults.cut_clients,))),
    # Nobody reconnects: a hole is noticed by the channel's next entry, as long as the client's cursor is near.
    "swallow": Scenario(((faults.swallow,),), follow_up=True, names=4, pause=0.05),
    # More is published than is kept: whoever was away or slow has to be told.
    "bounded": Scenario(
        ((faults.burst,), (faults.leave, faults.read_slowly, faults.cut_clients), (faults.kill_subscribers,)),
        {"max_history": 100, "recent_bytes": 0},
        bounded=True,
    ),
    # With the deadlines of production, and a Valkey that freezes for longer than all of them.
    "frozen": Scenario(
        ((faults.freeze_valkey_for_long,), (faults.cut_clients, faults.leave, faults.arrive)),
        {"broker_heartbeat": 2.5, "broker_deadline": 10, "redis_timeout": 3, "attach_timeout": 10},
        seconds=45,
    ),
}
