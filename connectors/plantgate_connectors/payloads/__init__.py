"""Messages that carry samples, whatever carries them: the words, times and texts of MQTT, Kafka, HTTP and Sparkplug."""
