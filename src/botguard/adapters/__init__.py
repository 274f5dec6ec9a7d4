"""Stores, one package for each technology. They import ports, values and errors only, and are strangers to each other."""
