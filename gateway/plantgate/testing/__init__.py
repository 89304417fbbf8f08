"""For connector authors: simulated time and network, faults, contracts."""
