"""What botguard asks of its surroundings: one small Protocol a file, with the values it speaks.

A method that returns ``MaybeAwaitable[T]`` may be ``def`` or ``async def``; the class says which by ``colour``.
Every method may raise :class:`botguard.errors.StoreUnavailable`, and no other exception for a store that is down.
"""
