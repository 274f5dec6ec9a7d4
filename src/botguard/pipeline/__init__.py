"""The straight line that every call walks: how stages compose, in which order, and who steps them."""
