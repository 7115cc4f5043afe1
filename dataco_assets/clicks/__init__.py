"""The click itself: which JSON is one (`event`), its page (`page`), its hours (`hour`), its HBase row (`row`).

Pure functions over bytes and text, the same in every process that handles clicks. Does not belong here: Kafka, HBase,
Spark, Dagster, or any other input and output. docs/clicks.md states every rule with its reason.
"""
