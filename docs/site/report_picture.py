"""Takes the pictures of the diagnosis report: `python -m docs.site.report_picture`.

It runs the guide up to where it writes the report, and needs Chromium. The report
follows the reader's scheme, so it is taken light and dark.
"""

import contextlib
import io
import os
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from docs import execute
from docs.pictures import dark_picture

IMAGES = Path(__file__).parents[1] / "images"
# Blink's numbers for what a reader prefers: light, and dark.
PREFERRED = (1, 0)
SIZE = (900, 1000)


def write_report(folder: Path) -> Path:
    """Run the guide's cells until the report is there."""
    report = folder / "diagnosis.html"
    source = execute.GUIDES / "diagnose_a_training.py"
    scope: dict[str, object] = {}
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        for kind, _, body in execute.cells(source.read_text("utf-8")):
            if kind == "code" and not report.exists():
                exec(compile(body, source, "exec"), scope)
    return report


def take_picture(report: Path, preferred: int, path: Path) -> None:
    """Save the top of a report as a reader of that scheme sees it."""
    width, height = SIZE
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--hide-scrollbars",
        f"--blink-settings=preferredColorScheme={preferred}",
        f"--window-size={width},{height}",
        f"--screenshot={path}",
        report.as_uri(),
    ]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    image = Image.open(path).convert("RGB").quantize(64)
    image.save(path, optimize=True)


def main() -> None:
    """Write both pictures."""
    os.environ.setdefault("KERAS_BACKEND", execute.BACKENDS[0])
    with tempfile.TemporaryDirectory() as folder:
        report = write_report(Path(folder))
        path = IMAGES / "diagnosis_report.png"
        for preferred, picture in zip(
            PREFERRED, (path, dark_picture(path)), strict=True
        ):
            take_picture(report, preferred, picture)


if __name__ == "__main__":
    main()
