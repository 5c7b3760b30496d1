"""Results of finished runs, as they stand in their JSON files."""

from pathlib import Path
from typing import Any

from keras_gradattn.training._files import read_json

# Of the JSON files that are written now.
FORMAT = 3


def read_result(path: Path) -> dict[str, Any]:
    """The result of one run.

    Args:
        path: Its JSON file.

    Returns:
        The content.

    Raises:
        ValueError: If the file is damaged or was written by another version.
    """
    content: dict[str, Any] = read_json(path)
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{path} was written by another version of this package. Move it away to "
            f"run this experiment again. Received: format {content.get('format')}, "
            f"expected {FORMAT}"
        )
    return content


def what_is_missing(path: Path, *, save_model: bool, pictures: bool) -> str:
    """A sentence on what a finished run was not asked for and is now, or nothing.

    Args:
        path: Its JSON file.
        save_model: Whether its model is wanted.
        pictures: Whether its pictures are wanted.
    """
    wanted = {
        "model": path.with_suffix(".keras") if save_model else None,
        # Every run that draws draws this one.
        "pictures": path.with_name(f"{path.stem}-history.png") if pictures else None,
    }
    missing = [what for what, file in wanted.items() if file and not file.exists()]
    if not missing:
        return ""
    return (
        f"{path}: there is no {' and no '.join(missing)} of this run. Choose another "
        "results folder or move the JSON away, and the same command makes it"
    )


def read_results(folder: str | Path) -> list[dict[str, Any]]:
    """Every finished run below a folder, in a fixed order.

    Args:
        folder: Folder that `run` wrote to.

    Returns:
        The content of each JSON, with its path below the folder under `"file"`.

    Raises:
        ValueError: If there is none, or one is damaged or of another version.
    """
    folder = Path(folder)
    found = []
    for path in sorted(folder.rglob("*.json")):
        # Of a run that is not finished.
        if path.parent.suffix == ".partial":
            continue
        content = read_json(path)
        # Other JSON files may live in the folder; these fields make a result.
        if isinstance(content, dict) and {"configuration", "metrics"} <= set(content):
            name = path.relative_to(folder).as_posix()
            found.append(read_result(path) | {"file": name})
    if not found:
        raise ValueError(f"There is no finished experiment. Received: results={folder}")
    return found
