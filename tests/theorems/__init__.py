"""What the docstrings of the policies promise, against the exact optimum.

For each promise: many random small cases, none of which breaks it; a family of cases that comes
within one per cent of it, so that the check could fail; and what is not true, beside it.
"""
