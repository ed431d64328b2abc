"""What every service does on the bus alike: declaring streams, replying."""
