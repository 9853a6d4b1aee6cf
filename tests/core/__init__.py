"""The core of a queue, without a loop: its decisions and its figures."""
