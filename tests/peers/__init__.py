"""Software that others wrote, started and stopped by our tests: an OPC UA server, an MQTT broker, a bad network."""
