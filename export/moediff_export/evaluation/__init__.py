"""Evaluation of a bundle on held-out subjects; `run.evaluate` makes the whole report."""
