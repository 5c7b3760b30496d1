"""What JAX keeps to itself and we need. Seen with JAX 0.4.35 and 0.10.2."""
