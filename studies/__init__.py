"""Our experiments: their runs, the report on them, figures for every text."""
