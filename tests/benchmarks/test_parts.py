"""The parts of a step: arithmetic by hand, and every piece runs on this backend."""

import json

import pytest

from benchmarks import profile_step
from benchmarks.speed import keras_parts, torch_parts
from benchmarks.speed.contenders import PEERS, Task, ours
from benchmarks.speed.keras_steps import Steps
from benchmarks.speed.parts import milliseconds_by_part, time_pieces
from benchmarks.speed.torch_steps import Steps as PeerSteps
from tests.narrow import HEAD, TRUNK

DEPTHS = ["stem", "stage1", "stage2", "stage3", "stage4", "head"]


def test_parts_are_differences_of_prefixes_round_by_round():
    seconds = {
        "forward to stem": [0.001, 0.002, 0.001],
        "gradient to stem": [0.003, 0.005, 0.003],
        "forward to head": [0.002, 0.004, 0.003],
        "gradient to head": [0.008, 0.010, 0.009],
        "update": [0.001, 0.002, 0.003],
        "step": [0.010, 0.013, 0.014],
    }

    parts = milliseconds_by_part(seconds, ["stem", "head"])

    # Head, backward: (8 - 2) - (3 - 1), (10 - 4) - (5 - 2), (9 - 3) - (3 - 1).
    expected = {
        "stem": {"forward": 1, "backward": 2},
        "head": {"forward": 2, "backward": 4},
        "update": {"all": 2},
        # 10 - 9, 13 - 12, 14 - 12.
        "rest": {"all": 1},
        "step": {"all": 13},
    }
    assert set(parts) == set(expected)
    for name, own in expected.items():
        assert parts[name] == pytest.approx(own), name


def test_pieces_are_timed_in_turns():
    ran = []
    pieces = {name: lambda name=name: ran.append(name) for name in ("a", "b")}

    seconds = time_pieces(pieces, rounds=2)

    # Once to compile; then forth and back, every turn twice.
    assert ran == [*"ab", *"aabb", *"bbaa"]
    assert [len(own) for own in seconds.values()] == [2, 2]


def test_every_piece_of_ours_runs(backend):
    task = Task(size=16, batch=4, num_classes=3, arguments=TRUNK | HEAD)
    steps = Steps(ours(backend), task)
    steps.compile()
    steps.run(1)
    before = int(steps.model.optimizer.iterations)

    pieces = keras_parts.pieces(steps)
    for piece in pieces.values():
        piece()
    pieces["step"]()

    assert keras_parts.depths(steps) == DEPTHS
    names = [f"{kind} to {d}" for d in DEPTHS for kind in ("forward", "gradient")]
    assert list(pieces) == [*names, "update", "step"]
    # On JAX the update alone works on copies.
    assert int(steps.model.optimizer.iterations) - before >= 2


def test_every_piece_of_the_peer_runs():
    task = Task(size=16, batch=4, num_classes=3, arguments=TRUNK | HEAD)
    steps = PeerSteps(PEERS[0], task)
    steps.compile()

    parts = steps.milliseconds_by_part(rounds=1)

    assert list(parts) == [*DEPTHS, "update", "rest", "step"]
    assert torch_parts.depths(steps) == DEPTHS
    assert parts["step"]["all"] > 0


def test_command_profiles_a_contender(tmp_path, capsys):
    file = tmp_path / "profile.json"
    narrow = json.dumps(TRUNK | HEAD)
    command = (
        f"--contenders pytorch-eager --size 16 --batch 4 --rounds 2 --output {file}"
    )

    profile_step.main([*command.split(), "--rounds", "2", "--arguments", narrow])

    report = json.loads(file.read_text())
    assert list(report["profiles"]) == ["pytorch-eager"]
    assert report["not_measured"] == {}
    printed = capsys.readouterr().out
    assert "| stage4 |" in printed
    assert "(100%)" in printed
