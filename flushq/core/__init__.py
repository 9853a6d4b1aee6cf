"""Everything that a queue decides: no loop, no thread and no clock of its own."""
