"""State machines: random histories of one store, each step compared with the model of its port.

They need Hypothesis (``botguard[testing]``) and are loaded by the suites' ``play`` when that is there.
"""
