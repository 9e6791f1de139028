"""Merging several models' weights into one."""
