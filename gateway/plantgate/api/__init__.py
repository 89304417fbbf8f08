"""What the gateway serves over HTTP: health, metrics, status, the live view."""
