"""Seeded sessions: deterministic simulation of the real driver, judged by a checker.

One seed makes a configuration, producers, a sink with faults, perhaps a failure handler, receipts,
cancellations, barriers and an end, runs them on a virtual loop of their own, and compares what
could be seen from outside with the contract. ``python -m tests.sessions --seeds 100000`` runs many
seeds, ``--seed 4711`` replays one and prints its history; ``--kind batched`` plays a `Batched`, and
``--kind core`` the core alone, by hand and beside a model (`tests.core_sessions`).

The checker, which knows nothing of seeds and judges `tests.enumeration` too:

=================  ========================================================================
history.py         what happened, in order, and what of it broke the contract
facts.py           what is known of items and flights
waiting.py         what is known of those who wait
causes.py          exceptions: which one is the one expected
account.py         items: accepted, cut, handed over, ended; order, caps, slots
deliveries.py      flights, call by call: what may be handed over again, and what never
line.py            producers: who may be accepted, refused, overtaken, made to wait
receipts.py        receipts: each tells the fate of its item
barriers.py        what flush() waits for, and what it must tell
closers.py         those who wait for the end of the queue
endings.py         when the end begins, and when it is cut short
outcomes.py        exceptions that tell of an end
hearing.py         the policy: what it hears and answers, and whether the queue obeys
reports.py         reports: one of every flight, with the right figures
figures.py         stats(): adds up at every moment, and at an idle one each figure is right
idle.py            what must hold whenever nothing is left to be done
checker.py         all of that put together
=================  ========================================================================

The world around a queue:

=================  ========================================================================
loop.py            the virtual loop, with a hook for idle moments; it can be run by hand
actors.py          tasks with names, who come and are interrupted
submitters.py      each call of submit and deliver, and each receipt, observed
cast.py            each other call of the queue, observed
policies.py        policies that tell the checker, and fail when asked to
errors.py          what is raised: also exceptions that cannot be compared
poison.py          items that a sink cannot take
deeds.py           what a sink does, call by call
sink.py            the flush function
handler.py         the failure handler and its faults
producers.py       producers
stage.py           one queue with all of that around it
configuration.py   everything that a seed decides
session.py         one seed, played and judged
requests.py        a checker for Batched
batched.py         one seed, played on a Batched and judged
many.py            many seeds
=================  ========================================================================

A complaint names the point of the contract that was broken: 1 to 17 as in the README; beyond those
18 is failure handlers, 19 receipts, 20 Batched, 21 reports and stats().
"""
