"""One module for each family of measurement, and the text comparisons they share.

Pure functions over records.
"""
