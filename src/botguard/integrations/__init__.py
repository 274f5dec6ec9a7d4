"""From a framework's request to a Context: one module each for Flask, Starlette, FastAPI and aiogram.

Importing this package loads no framework; each module imports its own, and says which extra brings it.
"""
