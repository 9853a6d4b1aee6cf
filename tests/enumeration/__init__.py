"""Every interleaving of small cases: enumerated, not sampled.

A *setup* is a tiny queue, brought into a certain state. From there all *scripts* up to a depth are
played: sequences of actions (a producer enqueues, a producer is cancelled, the sink finishes, a
pass is made, ...), each of which is possible when its turn comes. Every script is played on a queue
of its own, brought to an end, and judged.

Scripts are played on the *core*, driven by hand and judged by the model of `tests.core_sessions`:
there each step of a caller, of a flush and of the timer, and each pass, is an action of its own, so
that they come in every order. On the *loop*, where they come in the order of the loop, the same
setups are played to a lesser depth, and judged by the checker of `tests.sessions`: what is tried
there is how tasks are woken, cancelled and ended.

``python -m tests.enumeration`` plays them all, of the ``--kind`` core or loop; ``--setup 3 --script
0.2.1`` replays one and prints its history.
"""
