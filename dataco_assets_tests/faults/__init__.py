"""Faults: real servers and workers are killed, stalled and starved under load; then a judge reads everything back.

`truth` knows what was produced, `traffic` produces it, `worker` drains it in processes of its own (`crew` keeps one
alive), `servers` breaks things, `judge` compares the end with the truth, and `planted` holds bugs that the judge has
to find. Only tests of the ingest live here.
"""
