"""The three built-in language models and their making: `python -m harness.language_models`.

Images, prompts and reports come from the project itself (`corpus`, `images`), never from a text
written by hand for a model to repeat. `architecture` builds the empty models, `vision` and
`language` train them, `export` writes them out and `evaluation` says how good they are.
"""
