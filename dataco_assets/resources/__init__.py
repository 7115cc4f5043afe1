"""Dagster resources: the clients of the servers, each configured by the one `settings` resource it depends on.

The settings are a resource of their own, a validated `Settings` object: every run is a process of its own, which reads
its environment when it loads the definitions. No value of a setting becomes part of a resource's configuration, so
none, and no secret, is stored with a run or shown in Dagster's UI.

Belongs here: turning settings into clients, and closing them. Does not belong here: what is done with them.
"""
