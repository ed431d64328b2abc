"""What runs the services: settings, logging, the embedded nats-server, the supervisor, and the wiring of it all."""
