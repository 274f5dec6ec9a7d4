"""A host's app."""
