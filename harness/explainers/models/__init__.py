"""How each kind of classifier is read and asked: what of a sample it sees, what is left when units
are removed, and what it then says."""
