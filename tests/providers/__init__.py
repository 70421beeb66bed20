"""Each provider of the field, as its page tells users to set it up, against a lookalike with its oddities."""
