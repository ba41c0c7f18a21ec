"""How SVG is drawn: elements, axes, text and its widths, the style sheet, and finished figures.

One vocabulary for the report's charts and for the pictures of attributions. Nothing here knows what
is drawn.
"""
