"""What happened, provably: a transparency log (C2SP tlog-tiles) that others can verify without us."""
