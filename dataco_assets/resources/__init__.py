"""Dagster resources: the clients of the servers, each configured by the one `settings` resource it depends on.

The settings are a resource of their own, a validated `Settings` object: every run is a separate process that reads its
environment when it loads the definitions. No setting becomes part of a resource's configuration, so no value, and no
secret, is stored with a run or shown in Dagster's UI.
"""
