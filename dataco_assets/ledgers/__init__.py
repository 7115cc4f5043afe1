"""The ledgers in HBase: hours to compute, offsets stored so far, erased users. One table each. No Dagster here."""
