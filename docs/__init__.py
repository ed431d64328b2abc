"""The documentation; `docs.generate` writes what of it comes from the code."""
