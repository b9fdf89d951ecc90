"""Metrics of this process."""

from prometheus_client.registry import REGISTRY


def value(name: str, **labels: object) -> float:
    """Return the value of a metric with these labels; 0.0: it has not been counted."""
    return REGISTRY.get_sample_value(name, {label: str(text) for label, text in labels.items()}) or 0.0
