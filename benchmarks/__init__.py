"""How fast is it? `make bench` runs the real service, loads it, and measures each row of benchmarks/rows.py.

README.md tells what each row is and how to read a figure.
"""
