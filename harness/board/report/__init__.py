"""A comparison as one page for a paper's appendix: what was compared, how, what was found, and where it comes from."""
