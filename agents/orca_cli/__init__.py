"""The command line of Orca: a program for a person's laptop that speaks to the portal's REST API and nothing else."""

__version__ = "0.4.0"
