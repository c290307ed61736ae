# SPDX-License-Identifier: Apache-2.0
"""The schedule ends when it should, the checkpoint goes on where it was, and nothing is half written."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
import torch
from ignite.engine import Engine, Events

from auto3dlandmark import LandmarkError
from auto3dlandmark.bundles.folder import ModelsFolder
from auto3dlandmark.training.keep_models import KeepModels
from auto3dlandmark.training.schedule import TrainingSchedule


def parts(lr=1.0):
    network = torch.nn.Linear(2, 1)
    return network, torch.optim.SGD(network.parameters(), lr=lr)


def engine_of(optimizer, seconds=0.0, rates=None):
    """A trainer that only waits and notes the learning rate."""

    def step(engine, batch):
        time.sleep(seconds)
        if rates is not None:
            rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        return {"loss": torch.tensor(0.0)}

    return Engine(step)


def test_the_rate_falls_from_the_top_to_zero_over_the_steps():
    _, optimizer = parts(lr=2.0)
    rates = []
    engine = engine_of(optimizer, rates=rates)
    TrainingSchedule(optimizer, total_steps=4, power=1.0).attach(engine)
    engine.run([0, 1], max_epochs=2)
    assert rates == pytest.approx([2.0, 1.5, 1.0, 0.5])


def test_others_can_read_how_far_the_training_is():
    _, optimizer = parts()
    shown, seen = torch.zeros(1), []
    engine = engine_of(optimizer)
    TrainingSchedule(optimizer, total_steps=4, shown=shown).attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(float(shown)))
    engine.run([0, 1], max_epochs=2)
    assert seen == pytest.approx([0, 0.25, 0.5, 0.75])


def test_the_rate_rises_first_when_asked_to():
    _, optimizer = parts(lr=1.0)
    rates = []
    engine = engine_of(optimizer, rates=rates)
    TrainingSchedule(optimizer, total_steps=100, power=0.0, warmup_steps=4).attach(engine)
    engine.run(range(6), max_epochs=1)
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_the_rate_drops_once_when_asked_to():
    _, optimizer = parts(lr=1.0)
    rates = []
    engine = engine_of(optimizer, rates=rates)
    TrainingSchedule(optimizer, total_steps=10, power=0.0, drop=(0.8, 0.1)).attach(engine)
    engine.run(range(10), max_epochs=1)
    assert rates == pytest.approx([1.0] * 8 + [0.1] * 2)


def test_with_minutes_the_schedule_ends_by_itself_with_a_rate_near_zero():
    _, optimizer = parts()
    rates = []
    engine = engine_of(optimizer, seconds=0.01, rates=rates)
    schedule = TrainingSchedule(optimizer, total_steps=None, minutes=1.0 / 60, started=time.time())
    schedule.attach(engine)
    engine.run(range(10), max_epochs=10**6)
    assert schedule.progress == 1
    assert 5 < len(rates) <= 100
    assert rates[-1] < 0.1 and rates == sorted(rates, reverse=True)


def test_time_spent_in_earlier_runs_counts():
    _, optimizer = parts()
    schedule = TrainingSchedule(optimizer, total_steps=None, minutes=1, started=time.time())
    schedule.load_state_dict({"seconds": 30.0, "steps": 7, "validation_seconds": 0.0})
    assert schedule.progress == pytest.approx(0.5, abs=0.02)
    assert schedule.seconds_left() == pytest.approx(30, abs=1)
    assert schedule.steps == 7


def test_room_is_left_for_the_last_validation():
    _, optimizer = parts()
    evaluator = engine_of(optimizer, seconds=0.2)
    schedule = TrainingSchedule(
        optimizer, total_steps=None, minutes=1, evaluator=evaluator, started=time.time()
    )
    before = schedule.progress
    evaluator.run([0])
    assert schedule.validation_seconds == pytest.approx(0.2, abs=0.1)
    assert schedule.progress > before


@pytest.mark.parametrize("steps, minutes, progress", [(10, 1, 0.5), (100, 1, 0.25), (10, None, 0.5)])
def test_the_earlier_end_of_steps_and_minutes_counts(steps, minutes, progress):
    schedule = TrainingSchedule(parts()[1], total_steps=steps, minutes=minutes, started=time.time())
    schedule.load_state_dict({"seconds": 15.0, "steps": 5, "validation_seconds": 0.0})
    assert schedule.progress == pytest.approx(progress, abs=0.01)


def test_a_training_without_an_end_is_refused():
    with pytest.raises(LandmarkError, match="has no end"):
        TrainingSchedule(parts()[1], total_steps=None)


@pytest.mark.parametrize("minutes", [0, -1])
def test_no_time_at_all_is_refused(minutes):
    with pytest.raises(LandmarkError, match="minutes"):
        TrainingSchedule(parts()[1], total_steps=None, minutes=minutes)


def test_gradients_are_clipped():
    network, optimizer = parts(lr=1.0)
    TrainingSchedule(optimizer, total_steps=10, clip_norm=1.0)
    before = torch.cat([p.detach().flatten().clone() for p in network.parameters()])
    (1000 * network(torch.ones(1, 2)).sum()).backward()
    optimizer.step()
    after = torch.cat([p.detach().flatten() for p in network.parameters()])
    assert (after - before).norm().item() == pytest.approx(1, rel=1e-3)


def keep(folder, epochs, network, optimizer, **options):
    schedule = TrainingSchedule(optimizer, total_steps=2 * epochs)
    engine = engine_of(optimizer)
    schedule.attach(engine)
    KeepModels(folder, network, optimizer, schedule, seconds_between=0, **options).attach(engine)
    return engine, schedule


def test_a_training_that_was_stopped_goes_on_at_the_same_step(tmp_path):
    network, optimizer = parts()
    engine, _ = keep(tmp_path, 4, network, optimizer)

    @engine.on(Events.EPOCH_COMPLETED)
    def stop(running):
        if running.state.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run([0, 1], max_epochs=4)
    assert not (tmp_path / "model.pt").exists()

    other, other_optimizer = parts()
    resumed, schedule = keep(tmp_path, 4, other, other_optimizer)
    started = []
    resumed.add_event_handler(Events.EPOCH_STARTED, lambda running: started.append(running.state.epoch))
    resumed.run([0, 1], max_epochs=4)
    assert started == [3, 4]
    assert schedule.steps == 8
    assert torch.equal(other.weight, network.weight)
    assert json.loads((tmp_path / "training.json").read_text())["steps"] == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt", "training.json"]


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    network, optimizer = parts()
    torch.save({"network": torch.nn.Linear(3, 1).state_dict()}, tmp_path / "checkpoint.pt")
    engine, _ = keep(tmp_path, 1, network, optimizer)
    with pytest.raises(LandmarkError, match=r"checkpoint\.pt: is of another training"):
        engine.run([0], max_epochs=1)


def test_the_best_validation_is_kept_beside_the_last(tmp_path):
    network, optimizer = parts()
    errors = iter([5.0, 3.0, 4.0])

    def validate(engine, batch):
        engine.state.metrics["mre_mm"] = next(errors)

    evaluator, courses = Engine(validate), []
    engine, _ = keep(tmp_path, 3, network, optimizer, evaluator=evaluator)

    @engine.on(Events.EPOCH_COMPLETED)
    def change_and_validate(running):
        with torch.no_grad():
            network.weight.fill_(running.state.epoch)
        evaluator.run([0])
        courses.append([look["mre_mm"] for look in ModelsFolder(tmp_path).course()])

    assert ModelsFolder(tmp_path).course() == []
    engine.run([0, 1], max_epochs=3)
    assert courses == [[5], [5, 3], [5, 3, 4]]  # told while it runs
    assert [look["mre_mm"] for look in ModelsFolder(tmp_path).course()] == [5, 3, 4]
    assert not ModelsFolder(tmp_path).validations.exists()
    assert torch.load(tmp_path / "model_best.pt")["weight"].unique().item() == 2
    assert torch.load(tmp_path / "model.pt")["weight"].unique().item() == 3
    summary = json.loads((tmp_path / "training.json").read_text())
    assert summary["best_mre_mm"] == 3 and summary["mre_mm"] == 4


def test_a_checkpoint_is_written_within_an_epoch_and_the_training_ends_at_its_last_step(tmp_path):
    network, optimizer = parts()
    engine, _ = keep(tmp_path, 4, network, optimizer)

    @engine.on(Events.ITERATION_COMPLETED(once=3))  # the middle of the second epoch
    def stop(running):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run([0, 1], max_epochs=4)
    other, other_optimizer = parts()
    resumed, schedule = keep(tmp_path, 4, other, other_optimizer)
    resumed.run([0, 1], max_epochs=4)
    assert schedule.steps == 8
    assert json.loads((tmp_path / "training.json").read_text())["steps"] == 8


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_training_after_its_step_with_a_checkpoint(tmp_path, number):
    network, optimizer = parts()
    schedule = TrainingSchedule(optimizer, total_steps=8)
    engine = engine_of(optimizer)
    schedule.attach(engine)
    KeepModels(tmp_path, network, optimizer, schedule).attach(engine)
    before = signal.getsignal(number)
    engine.add_event_handler(Events.ITERATION_STARTED(once=3), lambda: os.kill(os.getpid(), number))
    engine.run([0, 1], max_epochs=4)
    assert schedule.steps == 3
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert signal.getsignal(number) == before
