"""Rejected clicks: their records in the rejected topic, listing, showing and replaying them. No Dagster here."""
