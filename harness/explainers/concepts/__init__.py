"""What a classifier's layers say, as concepts: directions in activation space and what they mean.

`activations.py` streams a layer's activations to disk, each row with the place it was taken at.
`spaces/` holds what is fitted to them, `metrics/` how good a fitted space is, `importance.py` what
its concepts do for the output, `meaning.py` what a person is shown of a concept. Nothing here knows
of prompts or stores, and no language model is called: `meaning.py` makes requests and reads
generations.
"""
