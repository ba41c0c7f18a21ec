"""OCT-angiography-like images whose every lesion is known, and the findings that describe them.

A forest of vessels is grown once (`forest`), many lesion draws are laid on it (`pathology`), each
is rendered (`render`) and described (`findings`); `generator` is the way in. Sources, scorers and
models use these modules, which know nothing of prompts or scores.
"""
