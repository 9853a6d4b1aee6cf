"""Every interleaving of small cases: enumerated, not sampled.

A *setup* is a tiny queue in a certain state. From there all *scripts* up to a depth are played. A
script is a sequence of actions (a producer enqueues, a caller is cancelled, a flush ends, a pass is
made, ...); each action is possible when it is taken. Each script is played on its own core, without
a driver, and the model of `tests.core_sessions` judges it. Each step of a caller, of a flush and of
the timer is a separate action, so the steps come in every order.

``python -m tests.enumeration`` plays all scripts; ``--setup 3 --script 0.2.1`` plays one again and
prints its history.
"""
