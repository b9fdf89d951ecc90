"""The same job done by the usual means: one process, no Redis, no history. Less work than Notifier does."""
