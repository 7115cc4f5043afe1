"""Sources of clicks other than a live web site: synthetic visits and web servers' logs, as iterators.

The command line sends what they yield. Nothing here imports `dataco_assets.clicks`, which validates clicks, so that
what a source says about its clicks is independent evidence in tests.
"""
