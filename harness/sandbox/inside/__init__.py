"""What runs inside a sandbox, on the standard library alone; nothing else of the harness is there."""
