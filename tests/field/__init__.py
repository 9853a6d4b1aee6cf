"""The recipes against real servers, which the tests start themselves."""
