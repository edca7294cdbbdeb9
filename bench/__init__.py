"""Benchmarks: each comparison interleaved in one run, medians and ratios, with a description of the machine."""
