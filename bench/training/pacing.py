"""Whoever waits for a run is told where it stands, now and then by the clock, and never at the loop's expense."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable

from bench.records.record import Point, finite
from bench.records.standing import EVALUATING, Standing
from bench.training.trackers import Observer, no_loss


class Pacing(Observer):
    """Tells where a run stands, at once and then every so many seconds; passes the points of the curve on.

    What is left is reckoned from the steps made since the first one here, so what an earlier part of the run has made
    does not count as quick. A phase that is no evaluation, such as a shared stage that is taken, begins the reckoning
    anew. The loss, for which the device is waited for, is asked for only when it is told.
    """

    def __init__(self, observer: Observer, tell: Callable[[Standing], None], every: float = 1.0) -> None:
        self.observer, self.tell, self.every = observer, tell, every
        self.started, self.host = time.time(), socket.gethostname()
        self.last_told = -math.inf
        self.steps, self.budget = 0, 0
        self.first: tuple[float, int] | None = None
        self.last_step: float | None = None
        self.images, self.busy = 0, 0.0
        self.loss: float | None = None
        self.images_per_second: float | None = None
        self.doing, self.since, self.share = "", 0.0, 0.0

    def point(self, point: Point) -> None:
        self.observer.point(point)

    def step(self, step: int, of: int, images: int = 0, loss: Callable[[], float] = no_loss) -> None:
        now = time.monotonic()
        if self.first is None or step < self.steps:
            self.first = (now, step)
        if self.last_step is not None:
            self.busy, self.images = self.busy + now - self.last_step, self.images + images
        self.steps, self.budget, self.last_step, self.doing = step, of, now, ""
        if now - self.last_told >= self.every:
            self.loss = finite(loss())
            if self.busy > 0:
                self.images_per_second = self.images / self.busy
                self.images, self.busy = 0, 0.0
            self._tell(now)

    def phase(self, name: str, done: int = 0, of: int = 0) -> None:
        now = time.monotonic()
        if name != self.doing:
            self.doing, self.since = name, now
        if name != EVALUATING:
            self.first = None
        self.last_step, self.share = None, done / of if of else 0.0
        if now - self.last_told >= self.every:
            self._tell(now)

    def _tell(self, now: float) -> None:
        self.last_told = now
        standing = Standing(
            step=self.steps,
            of=self.budget,
            loss=self.loss,
            images_per_second=self.images_per_second,
            phase=self.doing,
            share=self.share if self.doing and self.share else None,
            seconds_left=self._seconds_left(now),
            started=self.started,
            moment=time.time(),
            host=self.host,
        )
        self.tell(standing)

    def _seconds_left(self, now: float) -> float | None:
        """By the steps made here so far, evaluations between them included, and by the share of a phase."""
        if self.first is None or self.steps == self.first[1]:
            return None
        begun, step = self.first
        seconds = (now - begun) / (self.steps - step) * (self.budget - self.steps)
        if self.doing and self.share:
            seconds += (now - self.since) / self.share * (1 - self.share)
        return round(seconds, 1)
