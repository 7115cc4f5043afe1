"""Dagster resources: the clients of the servers, configured from the environment when a run starts.

Belongs here: turning configuration into clients, and closing them. Does not belong here: what is done with them.
"""
