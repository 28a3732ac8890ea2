"""Benchmarks: each starts what it needs, measures ours between turns of a named floor or peer, and prints JSON."""
