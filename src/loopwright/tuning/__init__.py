"""Automatic model tuning: which trials to run, and when to end them."""
