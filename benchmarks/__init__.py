"""Benchmarks: each figure of the platform beside the physical limit or peer that it is compared with.

`make bench` (or `python -m benchmarks`) measures everything in one run on one stack, writes JSON, draws the curves and
updates docs/performance.md. The platform does not depend on this package.
"""
