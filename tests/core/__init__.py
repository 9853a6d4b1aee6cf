"""The core, without a loop: what a queue decides, and the account that it keeps."""
