"""One run of the study, by the name of its result: `python -m studies.one_run NAME`."""

from __future__ import annotations

import argparse
import sys

from keras_gradattn.training import run
from studies.cells import runs
from studies.reduced import recipe, register


def main(arguments: list[str] | None = None) -> int:
    """Train, evaluate and write the JSON, or go on with it."""
    parser = argparse.ArgumentParser(prog="python -m studies.one_run")
    parser.add_argument("name")
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--results", required=True)
    options = parser.parse_args(arguments)
    register()
    cells = {cell.name(seed): (cell, seed) for cell, seed in runs()}
    cell, seed = cells[options.name]
    run(
        cell.dataset,
        cell.model,
        recipe(cell.recipe),
        seed,
        data_dir=options.data_dir,
        results=options.results,
        max_epochs=cell.epochs,
        limit=cell.limit,
        model_options=cell.model_options,
        # Corruptions and early exits are tried on the trained networks.
        save_model=True,
        pictures=False,
        verbose=2,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
