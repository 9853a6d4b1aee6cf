"""The core of a queue, driven by hand and judged by a model: no loop, no clock, no threads.

A script says what happens next: a caller comes, is cancelled, goes on; a flush takes a step; time
passes; a pass is made. So every interleaving of passes with everything else can be played, also
those that no event loop ever brings about.

======================  ===================================================================
driver.py               a driver that does what it is told, step by step
model.py                what must come of it: a queue as plain as can be
partitions.py           what that knows of a partition, and of its copy of the policy
flights.py              the same of one batch, call by call
judge.py                the core and the model agree, after each action
play.py                 the actions that are possible, done to both
session.py              seeded sessions
sabotages.py            rules of the core, each broken in one way
partition_sabotages.py  rules of partitions, each broken in one way
======================  ===================================================================

``python -m tests.enumeration`` plays all short scripts, ``python -m tests.sessions --kind core``
plays seeds. `tests.sessions` uses the same model for the queue on a loop.
"""
