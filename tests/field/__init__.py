"""Tests of the recipes with real servers, which the tests start themselves."""
