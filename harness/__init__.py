"""Tells whether an LLM's explanation of a classifier's decision can be trusted."""

__version__ = "0.1.0"
