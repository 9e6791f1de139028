"""Sources, rows, conversations, mixtures: from a dataset's name to labelled tokens."""
