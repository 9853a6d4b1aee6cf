"""Seeded sessions: deterministic simulation of the real driver, beside a model of the core.

One seed makes a queue, producers, a sink with faults, perhaps a failure handler, receipts,
cancellations, barriers and an end, and runs them on a virtual loop of their own. Whatever happens
to the queue is done to the model of `tests.core_sessions` as well, at the same step: after each the
two must agree. What only a loop can show is checked beside: timers and tasks, contexts,
cancellations, log records, and that nobody waits for ever. ``python -m tests.sessions --seeds
100000`` runs many seeds, ``--seed 4711`` replays one and prints its history; ``--kind batched``
plays a `Batched`, and ``--kind core`` the core alone, driven by hand.

=================  ========================================================================
facts.py           items, and what a queue keeps to
history.py         what happened, in order, and what of it broke the contract
loop.py            the virtual loop, with hooks for idle moments and cancellations
mirror.py          the model, to which each step of the queue is done as well
mirrored.py        the queue, whose every step the mirror sees
actors.py          tasks with names, who come and are interrupted
users.py           each call of the queue, mirrored
producers.py       producers
policies.py        policies that tell what they hear, and fail when asked to
merges.py          how items with the same key become one
errors.py          what is raised: also exceptions that cannot be compared
throttles.py       throttles that do not ship, among them such that fail
sink.py            the flush function and its faults
handler.py         the failure handler and its faults
harness.py         one queue with all of that around it
dice.py            what seeds decide
session.py         one seed, played and judged
batched.py         one seed, played on a Batched and judged
asking.py          which requests wait there, and who has asked for them
many.py            many seeds
=================  =================================================================
A complaint names the point of the contract that was broken: 1 to 17 as in the README; beyond those
18 is failure handlers, 19 receipts, 20 Batched, 21 reports and stats().
"""
