"""The template of a model repository: what Triton loads, without its weights. `python -m export` copies and fills it.

Triton reads only the folders. This file makes the template a package, so that it is installed like the other packages.
"""
