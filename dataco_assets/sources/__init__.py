"""Where clicks come from when no web site sends them: synthetic visits and web-server logs.

Belongs here: iterators that make clicks. Does not belong here: sending them (the command line does that through the
Kafka client) and judging them (`dataco_assets.clicks` does). Nothing here imports the code that judges, so that what a
source says about its clicks is independent evidence in tests.
"""
