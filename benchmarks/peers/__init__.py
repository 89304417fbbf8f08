"""What the benchmark measures against: a load on a stack that is not ours."""
