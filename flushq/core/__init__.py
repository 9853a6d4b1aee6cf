"""Everything that a queue decides: no loop, no thread and no clock of its own.

Where each point of the contract is decided:

==========================  ====================================================================
1, 7, 8  acceptance, room,  admission (may it come in, and when), waitlist (the line of producers)
         fairness
2, 3     nothing vanishes   batcher (the account), losses (the lists), attempts (what is retried)
4        caps               caps
5, 6     order, latency     buffer (order), batcher (when a batch is taken and why, slots)
9        flush()            barriers
10, 11   close, owners      ending
12       failure            attempts (what comes next), ending (refusals, the outcome)
13       the clock          batcher (times never run backwards); the context is the driver's
14       re-entrancy        ending (who is refused), admission (deadlock)
15       bad policies       batcher; their arguments and answers: flushq.policy
16       duplicates         duplicates
17       life               ending
         receipts           receipts
         one pass           core
==========================  ====================================================================
"""
