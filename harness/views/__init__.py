"""How a sample of each modality is drawn: one file a view, and the `Picture` that all return.

The report knows no modality. For each medium it asks the view whose `mimes` fit best, and shows a
note where there is none.
"""
