"""Erasing a user's clicks from every store. No Dagster here."""
