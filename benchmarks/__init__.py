"""Benchmarks: each figure of the platform beside the physical or peer figure it should be held against.

`make bench` (or `python -m benchmarks`) measures everything in one run on one stack, writes JSON, draws the curves and
updates docs/performance.md. Belongs here: measuring. Does not belong here: anything the platform needs to work.
"""
