"""Everything that a queue decides: no loop, no thread and no clock of its own.

Where each point of the contract is decided, the first place first:

=================================  =============================================================
1, 7   acceptance, backpressure    admission; waitlist (the line of producers)
2      nothing vanishes            batcher (the account); losses (the two lists)
3      at most once                attempts
4      caps                        caps
5      order                       buffer; batcher (slots)
6      latency                     batcher (what is due); admission (from when an item counts)
8      fairness                    fairness; admission (credit)
9      flush()                     barriers; ending (what it raises)
10     the close                   ending
11     cancellation                ending (who may end it sooner); the driver's cancellation
12     failure                     batcher (whose it is); attempts (what comes next); ending
13     the clock                   running_policy; the context is the driver's
14     re-entrancy                 ending (who is refused); admission (deadlock)
15     bad arguments, policies     flushq.arguments; duplicates, caps; running_policy
16     duplicates                  duplicates; buffer
17     life                        ending; the driver's queue
P1     the key of a partition      partitioned_buffer
P2     the life of a partition     partitioned_batcher; policy_template (the policy's copies)
P3-P7  limits, turns, pressure     partitioned_batcher
P8     order of the lists          losses
=================================  =============================================================

What an item has come to is told by receipts; the steps of a pass are in core.
"""
