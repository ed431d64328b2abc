"""Keyscope's language: commands in, events out, queries, errors, subjects.

Start here. Everything in this package is a pydantic model or a pure function; it imports nothing of ours.
"""
