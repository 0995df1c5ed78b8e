"""Extreme compression of multilingual encoders: the computing side of the notebooks.

Modules stand on floors and import downwards only; notebooks compose them and show what they do.
"""
