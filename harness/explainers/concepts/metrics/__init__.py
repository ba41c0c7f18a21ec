"""How good a space of concepts is: what it keeps of the rows and of the output, how sparse, stable
and complete it is, and what its concepts have to do with known ones. One file a question."""
