"""Benchmarks: this project beside its rivals, on this machine, with the bytes verified."""
