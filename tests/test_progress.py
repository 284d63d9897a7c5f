"""What a person sees while a grid is trained."""

from __future__ import annotations

import io
import re
import sys

import pytest
from rich.console import Console

from bench.commands.progress import Watch, decoding
from bench.launch import Event
from bench.records.standing import Standing

LABEL = "gta micro_vit cluttered_digits 15 % seed"


class Clock:
    """Stands still until it is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def terminal(width: int = 80, height: int = 24) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=height, color_system=None)


def picture(watch: Watch) -> list[str]:
    """The lines that are drawn in place of the ones before."""
    assert watch.console is not None
    with watch.console.capture() as captured:
        watch.console.print(watch._picture())
    *lines, last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", captured.get()).splitlines()
    assert not last, "what is typed stands in a line of its own"
    return lines


def training(seed: int, label: str = LABEL, **standing: object) -> Event:
    stands = Standing(**{"of": 1000, **standing})  # type: ignore[arg-type]
    return Event(f"{seed}", f"{label} {seed}", "training", standing=stands)


def done(seed: int, seconds: float) -> Event:
    return Event(f"{seed}", f"{LABEL} {seed}", "done", seconds=seconds, score="90.0 %")


class TestTerminal:
    def test_it_lives_before_the_first_worker_answers(self, clock: Clock) -> None:
        watch = Watch(60, 12, 2, terminal())
        clock.now = 7.0
        (line,) = picture(watch)
        assert line.endswith("12/60 runs, starting workers: 2 runs at a time, 0:00:07")
        assert len(line) <= 80

    def test_the_grid_and_each_run_in_training(self, clock: Clock) -> None:
        watch = Watch(4, 1, 2, terminal())
        watch.event(training(0, step=300, loss=0.41237, images_per_second=812.4, seconds_left=70.0))
        watch.event(training(1, step=299, phase="evaluating", share=0.4, loss=0.5, seconds_left=71.0))
        grid, header, first, second = picture(watch)
        assert "1/4 runs, 2 in training, 0:02:01 left" in grid, "70, 71 and 100 s, two at a time"
        assert header.split() == ["in", "training", "step", "loss", "images/s", "left"]
        assert "15 % seed 0" in first, "the end of a label tells runs from each other, and is not cut"
        assert first.split()[-4:] == ["300/1000", "0.4124", "812", "0:01:10"]
        assert "evaluating 40 %" in second
        assert all(len(line) <= 80 for line in picture(watch))

    def test_nothing_is_promised_before_something_was_measured(self, clock: Clock) -> None:
        watch = Watch(4, 0, 2, terminal())
        watch.event(training(0, of=0, phase="opening data"))
        grid, _, row = picture(watch)
        assert grid.endswith("0/4 runs, 1 in training")
        assert "opening data" in row
        assert row.rstrip().endswith("–")

    def test_a_run_that_has_ended_leaves_the_picture(self, clock: Clock) -> None:
        watch = Watch(2, 0, 1, terminal())
        watch.event(training(0, step=10))
        watch.event(done(0, 40.0))
        (grid,) = picture(watch)
        assert grid.endswith("1/2 runs, 0:00:40 left")

    @pytest.mark.parametrize(("height", "rows", "more"), [(24, 16, ""), (10, 5, "and 11 more"), (3, 1, "and 15 more")])
    def test_as_many_runs_as_fit(self, clock: Clock, height: int, rows: int, more: str) -> None:
        watch = Watch(100, 0, 16, terminal(height=height))
        for seed in range(16):
            watch.event(training(seed, step=seed))
        lines = picture(watch)
        assert len([line for line in lines if "seed" in line]) == rows
        assert not more or lines[-1].strip() == more
        assert len(lines) <= max(height - 2, 4)

    @pytest.mark.parametrize("width", [100, 80, 60, 40, 20])
    def test_no_line_is_wider_than_the_terminal(self, clock: Clock, width: int) -> None:
        watch = Watch(100, 0, 2, terminal(width))
        label = "gta(weight=0.1,temperature=0.07)+transmix 漢字漢字 cluttered_digits 15 % seed"
        watch.event(training(3, label, step=12345, of=100000, loss=0.1, images_per_second=1e4, seconds_left=1e6))
        watch.event(training(4, label, phase="shared stage", share=0.1))
        console = terminal(width)
        lines = picture(watch)
        assert all(console.measure(line).maximum <= width for line in lines)
        assert len(lines) == 4
        if width >= 60:
            assert "11 d 13 h" in lines[2]
            assert "seed 3" in lines[2]

    def test_a_label_or_a_message_steers_nothing(self, clock: Clock) -> None:
        console = terminal(120)
        watch = Watch(2, 0, 1, console)
        watch.event(training(0, "[bold]x[/bold]\x1b[2J\n15 % seed", step=1))
        shown = picture(watch)
        with watch:
            watch.event(Event("b", "ce [red] seed 0", "failed", "no \x1b[2J memory " + "long " * 40))
        assert any("[bold]x[/bold]\\x1b[2J; " in line for line in shown)
        file = console.file
        assert isinstance(file, io.StringIO)
        above = file.getvalue()
        assert "failed: ce [red] seed 0: no \\x1b[2J memory long" in above
        assert "\x1b[2J" not in above

    def test_at_the_end_nothing_of_it_is_left(self, clock: Clock) -> None:
        console = terminal()
        with Watch(2, 0, 1, console) as watch:
            watch.event(training(0, step=1))
        file = console.file
        assert isinstance(file, io.StringIO)
        assert file.getvalue().endswith("\x1b[2K"), "the last that is written erases a line"
        assert "\x1b[?25h" in file.getvalue(), "and the cursor is there again"


class TestLog:
    def test_a_line_at_once_and_one_for_each_run_that_ends(
        self, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with Watch(2, 0, 1) as watch:
            assert capsys.readouterr().err == "starting workers: 1 run at a time\n"
            watch.event(training(0, step=10))
            watch.event(done(0, 3.0))
            watch.event(Event("1", "ce seed 1", "failed", "no \x1b[2J memory\nat all"))
        assert capsys.readouterr().err.splitlines() == [
            f"[1/2, 0:00:03 left] done: {LABEL} 0: 90.0 % in 3.0 s",
            "[2/2] failed: ce seed 1: no \\x1b[2J memory; at all",
        ]

    def test_a_look_at_the_runs_in_training_once_a_minute(
        self, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with Watch(2, 0, 1) as watch:
            for clock.now in range(0, 130, 10):
                watch.event(training(0, step=clock.now, loss=0.5, images_per_second=30.0, seconds_left=900.0))
        lines = capsys.readouterr().err.splitlines()[1:]
        assert len(lines) == 2
        assert lines[0] == (
            f"[0/2, 0:30:57 left] in training: {LABEL} 0: step 60/1000, loss 0.5, 30 images/s, 0:15:00 left"
        )

    def test_of_days_less_often(self, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
        with Watch(2, 0, 1) as watch:
            for clock.now in range(0, 86400, 10):
                watch.event(training(0, step=1))
        lines = capsys.readouterr().err.splitlines()[1:]
        assert 144 < len(lines) < 250, "every ten minutes in the end"

    def test_of_many_runs_only_some(self, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
        with Watch(20, 0, 16) as watch:
            for seed in range(16):
                watch.event(training(seed, step=1))
            clock.now = 60.0
            watch.event(training(0, step=2))
        lines = capsys.readouterr().err.splitlines()[1:]
        assert len(lines) == 4
        assert all("in training, 4 of 16: " in line for line in lines)


class TestDecoding:
    def test_in_a_log(self, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
        with decoding("folder:birds\x1b[2J") as progress:
            for clock.now in range(0, 130, 10):
                progress(int(clock.now) * 10, 12_000)
        assert capsys.readouterr().err.splitlines() == [
            "decoding folder:birds\\x1b[2J",
            "decoding folder:birds\\x1b[2J: 600 of 12,000 images",
            "decoding folder:birds\\x1b[2J: 1,200 of 12,000 images",
        ]

    def test_in_a_terminal(
        self, clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "80")
        with decoding("folder:[birds]") as progress:
            progress(3_000, 12_000)
        shown = capsys.readouterr().err
        assert "decoding folder:[birds]" in shown
        assert "3000/12000" in shown

    def test_a_terminal_that_cannot_draw_is_a_log(
        self, clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        monkeypatch.setenv("TERM", "dumb")
        with decoding("digits"):
            pass
        assert capsys.readouterr().err == "decoding digits\n"
