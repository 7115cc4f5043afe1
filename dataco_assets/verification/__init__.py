"""Verification: recomputes hours from the stored clicks without the pipeline's code and compares. No Dagster here."""
