"""Every interleaving of small cases: enumerated, not sampled.

A *setup* is a tiny queue, brought into a certain state. From there all *scripts* up to a depth are
played: sequences of actions (a producer enqueues, a producer is cancelled, the sink finishes, one
step of the loop, ...), each of which is possible when its turn comes. Every script is played on a
queue of its own, brought to an end, and judged by the checker of `tests.sessions`.

``python -m tests.enumeration`` plays them all; ``--setup 3 --script 0.2.1`` replays one and prints
its history.
"""
