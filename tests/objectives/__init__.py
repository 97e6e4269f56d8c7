"""Tests of the objectives that come with the program: their data, judge and known ideas."""
