"""`scripts/run`: every process of Orca on one machine, kept alive by supervisor."""
