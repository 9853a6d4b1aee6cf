"""The core of a queue, driven by hand and judged by a model: no loop, no clock, no threads.

A script says what happens next: a caller comes, is cancelled, goes on; a flush takes a step; time
passes; a pass is made. So every interleaving of passes with everything else can be played, also
those that no event loop ever brings about.

======================  ===================================================================
driver.py               a driver that does what it is told, step by step
model.py                what must come of it: a queue as plain as can be
room.py                 what that knows of room, and of what an item needs; merging
turns.py                the same of partitions: which are due, and whose policy hears next
partitions.py           the same of one partition, and of its copy of the policy
starts.py               the same of retries and of the throttle
calls.py                the same of one call of a producer or an owner
flights.py              the same of one batch, call by call
judge.py                the core and the model agree, after each action
play.py                 the actions that are possible, done to both
session.py              seeded sessions
sabotages.py            rules of the core, each broken in one way
bound_sabotages.py      rules of bounds, each broken in one way
merge_sabotages.py      rules of merging, each broken in one way
partition_sabotages.py  rules of partitions, each broken in one way
======================  ===================================================================

``python -m tests.enumeration`` plays all short scripts, ``python -m tests.sessions --kind core``
plays seeds. `tests.sessions` uses the same model for the queue on a loop.
"""
