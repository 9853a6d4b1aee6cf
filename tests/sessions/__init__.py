"""Seeded sessions: deterministic simulation of the real driver, judged by a checker.

One seed makes a configuration, producers, a sink with faults, cancellations, barriers and an end,
runs them on a virtual loop of their own, and compares what could be seen from outside with the
contract. ``python -m tests.sessions --seeds 100000`` runs many seeds, ``--seed 4711`` replays one
and prints its history.

==================  ================================================================================
facts.py            what the checker knows of items, calls, flights, barriers and closers
history.py          what happened, in order, and what of it broke the contract
loop.py             the virtual loop, with a hook for the moments at which nothing can happen
account.py          items: accepted, cut, handed over, ended; order, caps, slots
line.py             producers: who may be accepted, refused, overtaken, made to wait
endings.py          closing, failing, barriers: who must hear what
checker.py          all of that put together, and what must hold whenever the loop is idle
policies.py         policies that tell the checker what they hear and what they answer
actors.py           producers, barriers and owners: each call of the queue, observed
sink.py             the flush function and its faults
configuration.py    everything that one seed decides
session.py          one seed, played and judged
==================  ================================================================================
"""
