"""What the benchmarks of steps share: peers, worker processes, ratios, the machine."""
