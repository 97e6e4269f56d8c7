"""Runs of programs: a source answers arrays with arrays, and a judge scores the answers or times them."""
