"""Spaces of concepts: what is fitted to rows of activations, one file a family. `fit.py` fits any
by name, `space.py` says what a space is and how it is saved. A fit sees rows in batches alone."""
