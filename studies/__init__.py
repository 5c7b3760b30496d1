"""Our experiments: protocol, runs, the report on them, figures for every text."""
