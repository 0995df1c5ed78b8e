"""Extreme compression of multilingual encoders: the code that the notebooks call.

Rooms import in one direction only; CONTRIBUTING.md says which. Notebooks bring them together.
"""
