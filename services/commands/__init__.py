"""The write service: commands in, events stored, replies out.

A command comes through a door (door.py: request/reply; jobs.py: the durable stream), is checked and prepared, waits
for the writer (writer.py), which runs all that wait in one transaction, and is answered when that is on disk.
"""
