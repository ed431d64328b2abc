"""Writes the parts of docs/ that come from the code: schemas, AsyncAPI, reference pages. `make docs` runs it."""
