"""The core of a queue, driven step by step and judged by a model: no loop, no clock, no threads.

A script says what happens next: a caller begins a call, is cancelled or resumes; a flush takes a
step; time passes; a pass is made. So passes and all other steps can be played in every order, also
in orders that no event loop produces.

======================  ===================================================================
driver.py               a driver that follows a script, step by step
model.py                the model: a plain queue, which says what must happen
room.py                 the model of room: what an item needs, and merging
turns.py                the model of partitions: which are due, and which policy is told next
partitions.py           the model of one partition and its copy of the policy
starts.py               the model of retries and of the throttle
calls.py                the model of one call of a producer or an owner
flights.py              the model of one batch, call by call
judge.py                compares the core and the model after each action
play.py                 the possible actions, done to both
session.py              seeded sessions
sabotages.py            rules of the core, each broken in one way
bound_sabotages.py      rules of bounds, each broken in one way
merge_sabotages.py      rules of merging, each broken in one way
partition_sabotages.py  rules of partitions, each broken in one way
======================  ===================================================================

``python -m tests.enumeration`` plays all short scripts, ``python -m tests.sessions --kind core``
plays seeds. `tests.sessions` uses the same model for the queue on a loop.
"""
