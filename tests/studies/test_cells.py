"""The table of cells: every name is known and every network can be built."""

import pytest

from keras_gradattn import datasets
from keras_gradattn.datasets import SPECS
from keras_gradattn.training import MODELS, build_model, run
from studies.cells import BLOCKS, SEEDS, runs
from studies.comparisons import COMPARISONS
from studies.reduced import DATASETS, recipe

pytestmark = pytest.mark.any_backend
CELLS = [cell for cells in BLOCKS.values() for cell in cells]


def test_every_run_has_a_name_of_its_own():
    names = [cell.name(seed) for cell, seed in runs()]
    assert len(set(names)) == len(names) == len(CELLS) * len(SEEDS)


def test_names_are_those_that_a_run_gives_its_file(tmp_path, monkeypatch):
    found = []

    def no_data(name, **options):
        # While a run works, its folder stands beside the file to come.
        found.extend(tmp_path.rglob("*.partial"))
        raise LookupError(name)

    for name, spec in DATASETS.items():
        monkeypatch.setitem(SPECS, name, spec)
    monkeypatch.setattr(datasets, "load", no_data)
    cell = BLOCKS["D low data"][1]
    with pytest.raises(LookupError, match="tiny_imagenet_32"):
        run(
            cell.dataset,
            cell.model,
            recipe(cell.recipe),
            3,
            results=tmp_path,
            max_epochs=cell.epochs,
            limit=cell.limit,
            model_options=cell.model_options,
        )
    assert found == [tmp_path / f"{cell.name(3)}.partial"]


def test_a_block_runs_seed_by_seed():
    for block, cells in BLOCKS.items():
        seeds = [seed for cell, seed in runs() if cell.block == block]
        assert seeds == sorted(seeds) == [s for s in SEEDS for _ in cells]


def test_cells_name_what_there_is():
    for cell in CELLS:
        assert cell.dataset in SPECS | DATASETS
        assert cell.model in MODELS
        assert recipe(cell.recipe).name == cell.recipe


@pytest.mark.parametrize(
    "cell", {(c.model, str(c.options)): c for c in CELLS}.values(), ids=str
)
def test_networks_can_be_built(cell):
    spec = (SPECS | DATASETS)[cell.dataset]
    applied = recipe(cell.recipe).for_dataset(cell.dataset)
    model = build_model(cell.model, spec, applied, **cell.model_options)
    assert model.output_shape == (None, spec.num_classes)


def test_the_released_v1_keeps_its_own_head():
    (cell,) = (
        c for c in CELLS if (c.model, c.recipe) == ("gradattn_v1", "as_released")
    )
    applied = recipe(cell.recipe).for_dataset(cell.dataset)
    model = build_model(cell.model, SPECS[cell.dataset], applied, **cell.model_options)
    assert (model.get_config()["width"], model.get_config()["num_heads"]) == (32, 16)


def test_every_compared_network_is_a_cell():
    for comparisons in COMPARISONS.values():
        for comparison in comparisons:
            for network, name in (comparison.first, comparison.second):
                assert [
                    cell
                    for cell in CELLS
                    if (cell.network, cell.recipe) == (network, name)
                    and cell.block in comparison.blocks
                ]
