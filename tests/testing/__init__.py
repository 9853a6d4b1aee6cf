"""The tests of ``flushq.testing``, which checks policies and throttles."""
