"""Metrics, which every room may use."""
