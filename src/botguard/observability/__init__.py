"""Seeing what happened: counts, traces, audit. Outside libraries are imported when they are used, not before."""
