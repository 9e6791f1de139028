"""The board in the formats of others: what of it they can hold, and nothing that is not known."""
