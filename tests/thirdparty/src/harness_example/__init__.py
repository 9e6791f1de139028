"""Plug-ins for instruct-harness, as anybody would write and ship them."""
