"""Fault tests: real servers and workers are killed, stalled or out of disk under load; then all data is compared.

`traffic` produces messages and `truth` records them, `worker` drains them in separate processes (`crew` keeps one
running), `servers` injects faults, `judge` compares the result with the truth, and `planted` has bugs that the
comparison must find.
"""
