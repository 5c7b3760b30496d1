"""The experiments behind the package: protocols, runs and reports."""
