"""End-to-end epochs: the peer's own input is right, and epochs are timed."""

import json
import threading

import numpy as np
import pytest
import torch

from benchmarks import epoch


@pytest.mark.parametrize(
    ("flip", "shift", "expected"),
    [
        (0.9, (0.5, 0.5), lambda pixels: pixels),
        (0.1, (0.5, 0.5), lambda pixels: pixels[..., ::-1]),
        # A tenth of 20 pixels: what stood two further right is seen here.
        (
            0.9,
            (1.0, 0.5),
            lambda pixels: np.pad(pixels[..., 2:], ((0, 0), (0, 0), (0, 0), (0, 2))),
        ),
    ],
)
def test_the_peers_augmentation(monkeypatch, flip, shift, expected):
    drawn = iter([torch.full((3,), 0.5), torch.full((3,), flip), torch.tensor([shift])])
    monkeypatch.setattr(torch, "rand", lambda *shape: next(drawn).expand(*shape))
    images = np.random.default_rng(0).random((3, 1, 20, 20), "float32")

    found = epoch.augmented(torch.from_numpy(images)).numpy()

    np.testing.assert_allclose(
        found, (expected(images) - 0.2860) / 0.3530, rtol=1e-5, atol=1e-6
    )


def test_epochs_are_timed_in_processes_of_their_own(backend, tmp_path, capsys):
    names = [f"keras {backend}", f"keras {backend} device", "pytorch eager"]
    file = tmp_path / "epoch.json"

    epoch.main(
        [
            *("--contenders", *names),
            *("--images", "40", "--batch", "16", "--rounds", "2"),
            *("--output", str(file)),
        ]
    )

    report = json.loads(file.read_text())
    # Whole batches only.
    assert report["images"] == 32
    assert list(report["contenders"]) == names
    for values in report["contenders"].values():
        assert len(values["seconds"]) == 2
        assert min(values["seconds"]) > 0
    eager = capsys.readouterr().out.splitlines()[-1]
    assert eager.startswith("| pytorch eager |")
    assert "| 1.00 (1.00-1.00) |" in eager


@pytest.mark.parametrize("together", [False, True])
def test_processes_start_together_when_told_and_all_end(monkeypatch, together):
    both_started = threading.Barrier(2, timeout=30)
    closed = []

    class FakeProcess:
        def __init__(self, name, arguments):
            self.name, self.first_epoch = name, 1.0
            if together:
                both_started.wait()

        def close(self):
            closed.append(self.name)

    monkeypatch.setattr(epoch, "Process", FakeProcess)

    with epoch.processes(["b", "a"], [], together) as started:
        assert list(started) == ["b", "a"]
        assert not closed

    assert sorted(closed) == ["a", "b"]
