"""The tests: unit (no server), integration (real servers), faults (real servers that die)."""
