"""Pictures of why the classifier decided: one file a picture, all drawn with `harness.drawing`.

`draw.py` chooses for an attribution: marked text (`words.py`), an image with its parts outlined
(`overlay.py`), what a registered view draws, else bars (`bars.py`). `curves.py`, `heat_map.py` and
`gallery.py` are given plain records. Signs are never told by colour alone: what speaks for the
target has a solid line and what speaks against it a broken one, so that a grey print says the same.
"""
