"""Lenses: what each layer of a transformer says of the target, told by the model's own head.

`stream.py` finds the residual stream and puts what stands in it through the rest of the network;
`readings.py` holds the records; `lens.py` is the way in for both lenses; `tuned.py` trains the
translators of the tuned lens. A lens has layers where an attribution has units.
"""
