"""Where samples come from: one module for each kind of place.

Nothing here knows of prompts, models or scores.
"""
