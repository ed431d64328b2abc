"""Moving over from Medusa: its tables become event streams, with their ids, tokens, hashes and times."""
