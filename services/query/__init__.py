"""The read service: follows the event stream into a projection, and answers queries over it."""
