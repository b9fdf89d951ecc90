"""Limits: how often something may be done."""
