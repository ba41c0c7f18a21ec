"""Why the classifier decided: attributions, from a classifier and samples to records.

`explain.py` is the way in. `models/` says how each kind of classifier is read and asked, `units/`
what a value speaks about, `attributions/` holds the methods, and `engine.py` and `gradients.py` ask
the classifier for all of them at once. Nothing here knows of prompts, stores or language models.
"""
