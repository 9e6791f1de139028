"""The kit for plug-in authors."""
