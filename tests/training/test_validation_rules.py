"""The rules against PyTorch's scheduler and a hand-written training curve."""

import hypothesis
import hypothesis.strategies as st
import pytest
import torch

from keras_gradattn.training._validation_rules import BestEpoch, PlateauRule

pytestmark = pytest.mark.any_backend
# Few distinct values, so that ties and plateaus are common.
ACCURACIES = st.lists(st.integers(0, 5).map(lambda n: n / 10500), max_size=60)


@hypothesis.given(accuracies=ACCURACIES, patience=st.integers(0, 4))
@hypothesis.settings(max_examples=200, deadline=None)
def test_rates_equal_pytorch(accuracies, patience):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1e-3)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode="max",
        factor=0.2,
        patience=patience,
        threshold=0.0,
        min_lr=1e-7,
        eps=0.0,
    )
    rule, rate = PlateauRule(0.2, patience, 1e-7), 1e-3
    for accuracy in accuracies:
        rate = rule.next_rate(accuracy, rate)
        scheduler.step(accuracy)
        assert rate == optimizer.param_groups[0]["lr"]


def test_the_fourth_epoch_without_improvement_reduces():
    rule, rate, rates = PlateauRule(0.2, 3, 1e-7), 1e-3, []
    for accuracy in (0.5, 0.5, 0.5, 0.5, 0.5, 0.5):
        rate = rule.next_rate(accuracy, rate)
        rates.append(rate)
    assert rates == [1e-3, 1e-3, 1e-3, 1e-3, 2e-4, 2e-4]


def test_training_ends_seven_epochs_past_the_best():
    """As in every published run: `epochs_run == best_epoch + 7`."""
    rule = BestEpoch(7)
    for epoch, accuracy in enumerate([0.1, 0.3, 0.2, *[0.3] * 20], start=1):
        rule.is_best(epoch, accuracy)
        if rule.patience_is_over:
            break
    assert (rule.epoch, epoch) == (2, 9)


def test_one_image_is_an_improvement():
    rule = BestEpoch(7)
    assert rule.is_best(1, 9000 / 10500)
    assert rule.is_best(2, 9001 / 10500)
    assert not rule.is_best(3, 9001 / 10500)


def test_without_patience_training_never_stops():
    rule = BestEpoch(None)
    for epoch in range(1, 1000):
        rule.is_best(epoch, 0.0)
    assert not rule.patience_is_over
    assert rule.epoch == 1
