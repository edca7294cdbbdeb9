"""Benchmarks: each comparison is interleaved in one run, and kept as medians and ratios, with the machine's facts."""
