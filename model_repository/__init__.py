"""The template of a model repository: what Triton loads, without its weights. `python -m export` copies and fills it.

Only the folders are Triton's. This file makes the template a package, so that it is installed and found like the rest.
"""
