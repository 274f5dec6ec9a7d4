"""Stores that are wrong in one way each, as stores have been found to be, and the tests that must catch each.

A suite without them could be empty. ``TABLE.md`` lists them; ``python -m known_bad`` in this folder's parent writes it.
"""
