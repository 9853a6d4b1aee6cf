"""Every interleaving of small cases: enumerated, not sampled.

A *setup* is a tiny queue, brought into a certain state. From there all *scripts* up to a depth are
played: sequences of actions (a producer enqueues, a caller is cancelled, a flush ends, a pass is
made, ...), each of which is possible when its turn comes. Every script is played on a core of its
own, driven by hand and judged by the model of `tests.core_sessions`: each step of a caller, of a
flush and of the timer is an action of its own, so that they come in every order.

``python -m tests.enumeration`` plays them all; ``--setup 3 --script 0.2.1`` plays one again and
prints its history.
"""
