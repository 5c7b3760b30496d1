"""Commands that print tables of what things cost; run from the repository's root."""
