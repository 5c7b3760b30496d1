"""Private names of other projects: the one place that touches them."""
