"""Where a published board is sent: a dataset repository of the Hugging Face Hub, or a folder of a git clone."""
