"""The decisions of a queue, without an event loop, a thread or a clock of its own.

This table names the modules that decide each point of the contract (tests/README.rst). The most
important module of a point comes first:

=================================  =============================================================
1, 7   acceptance, backpressure    admission; waitlist (the line of producers)
2      nothing vanishes            batcher; account; losses (the lists of lost items)
3      at most once                attempts
4      caps                        caps
5      order                       buffer; batcher (slots)
6      latency                     batcher (what is due); fairness (when an item's age begins)
8      fairness                    fairness; admission (credit)
9      flush()                     barriers; ending (its exceptions)
10     the close                   ending
11     cancellation                ending (whose cancellation ends the queue); the driver
12     failure                     batcher (the first failure); attempts (retries); ending
13     the clock                   running_policy; the driver (the contextvars context)
14     re-entrancy                 ending (which callers are refused); admission (deadlock)
15     bad arguments, policies     flushq.arguments; duplicates, caps; running_policy
16     duplicates                  duplicates; buffer
17     life                        ending; the driver (the event loop)
18     the failure handler         attempts
19     receipts                    receipts
21     reports, stats, names       batch; view; core
P1     the key of a partition      partitioned_buffer
P2     the life of a partition     partitioned_batcher; policy_template (the policy's copies)
P3-P7  limits, turns, pressure     partition_line; partitioned_batcher
P8     order of the lost items     losses
B1-B5  bounds, displacing          admission; displacing
M1-M4  merging                     merging; waiting
H1-H5  throttles, holds            starts; running_throttle
=================================  =============================================================

The module core explains a *pass*: the steps that a queue takes after an event.
"""
