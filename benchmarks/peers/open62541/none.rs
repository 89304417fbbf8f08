// Cargo wants a target to read a manifest; nothing is built from here.
