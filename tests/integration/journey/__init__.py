"""The main job on real input and real peers, with the plugs pulled: see `scripts/journey`."""
