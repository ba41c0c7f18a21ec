"""What an attribution is worth: metrics, the attributions they are held against, and rankings.

A metric is given one attribution as a trial and returns one number. `metric.py` says what a metric
may be: it asks the classifier about sets of units, looks at the attribution alone, or has the
method explain again. `evaluate.py` is the way in; nothing here knows of stores, prompts or reports.
"""
