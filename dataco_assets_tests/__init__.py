"""The tests: unit (no servers), integration (real servers), faults (real servers that are killed)."""
