"""Servers for scanner-side software: one model in memory, many peers.

`room` holds what every server shares: structured logs, metrics and health, the queue for the model,
and the end by a signal. Each server is a package or module of its own beside it.
"""
