"""Notifier: a self-hosted real-time notification service."""
