"""Seeded sessions: deterministic simulation of the real driver, compared with a model of the core.

One seed makes a queue, producers, a sink with faults, perhaps a failure handler, receipts,
cancellations, barriers and an end. They run on a virtual loop of their own. Each step of the queue
is also done to the model of `tests.core_sessions`, and after each step the queue and the model must
agree. What only a loop can show is checked too: timers and tasks, contexts, cancellations, log
records, and that no caller waits for ever. ``python -m tests.sessions --seeds 100000`` runs many
seeds, ``--seed 4711`` replays one seed and prints its history; ``--kind batched`` plays a
`Batched`, and ``--kind core`` plays the core alone, driven step by step.

=================  ========================================================================
facts.py           items, and the limits of a queue
history.py         the events of a session, in order, and the complaints
loop.py            the virtual loop, with hooks for idle moments and cancellations
mirror.py          does each step of the queue to the model, too
mirrored.py        a queue that tells the mirror of its every step
actors.py          tasks with names, which can be cancelled
users.py           each call of the queue, mirrored
producers.py       producers
policies.py        policies that record their events and answers, and fail on request
merges.py          how items with the same key become one item
errors.py          the exceptions that are raised, some of them not comparable
throttles.py       throttles of the tests, some of them faulty
sink.py            the flush function and its faults
handler.py         the failure handler and its faults
harness.py         one queue with all of its users and functions
dice.py            the random choices of a seed
session.py         one seed, played and judged
batched.py         one seed, played on a Batched and judged
asking.py          the requests that wait in a Batched, and the callers of each
many.py            many seeds
=================  =================================================================
A complaint names the point of the contract (tests/README.rst) that was broken.
"""
