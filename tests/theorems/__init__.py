"""The bounds that the docstrings of the policies promise, checked against the exact optimum.

For each bound there are many random small cases, and none exceeds it. A family of cases comes
within one per cent of the bound, which shows that the check could fail. Another test shows a
similar statement that is not true.
"""
