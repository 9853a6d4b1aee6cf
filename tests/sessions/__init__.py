"""Seeded sessions: deterministic simulation of the real driver, judged by a checker.

One seed makes a configuration, producers, a sink with faults, cancellations, barriers and an end,
runs them on a virtual loop of their own, and compares what could be seen from outside with the
contract. ``python -m tests.sessions --seeds 100000`` runs many seeds, ``--seed 4711`` replays one
and prints its history.

The checker, which knows nothing of seeds and judges `tests.enumeration` too:

=================  ========================================================================
history.py         what happened, in order, and what of it broke the contract
facts.py           what is known of items, flights, and of those who wait
account.py         items: accepted, cut, handed over, ended; order, caps, slots
line.py            producers: who may be accepted, refused, overtaken, made to wait
barriers.py        what flush() waits for, and what it must tell
closers.py         those who wait for the end of the queue
endings.py         when the end begins, and when it is cut short
outcomes.py        exceptions that tell of an end
hearing.py         the policy: what it hears and answers, and whether the queue obeys
idle.py            what must hold whenever nothing is left to be done
checker.py         all of that put together
=================  ========================================================================

The world around a queue:

=================  ========================================================================
loop.py            the virtual loop, with a hook for idle moments; it can be run by hand
cast.py            actors, and each call of the queue, observed
policies.py        policies that tell the checker, and fail when asked to
sink.py            the flush function and its faults
producers.py       producers
stage.py           one queue with all of that around it
configuration.py   everything that a seed decides
session.py         one seed, played and judged
many.py            many seeds
=================  ========================================================================
"""
