"""How long the runs of an advice are, and how many seeds each round has, from measured times."""

from typing import NamedTuple

from .candidates import BASELINE, FINALISTS


class Cost(NamedTuple):
    """Seconds of a run: what each takes, however long it is, and what each image takes."""

    fixed: float
    image: float

    def predict(self, images: int) -> float:
        """Seconds of a run of so many images."""
        return self.fixed + self.image * images


class Design(NamedTuple):
    """What is to be run.

    Attributes:
        images: that each run sees.
        first: seeds of the first round, of all candidates.
        second: seeds of the second round, of the better half.
        last: seeds at least with which the last candidates and the baseline are confirmed; more
            follow as long as there is time.
    """

    images: int
    first: int
    second: int
    last: int


class Shape(NamedTuple):
    """Numbers of seeds, and the shortest runs with which they are worth it, of a whole one."""

    first: int
    second: int
    last: int
    share: float


SHAPES = (Shape(3, 2, 6, 1.0), Shape(2, 1, 5, 0.5), Shape(2, 0, 4, 0.0))
"""From the best to the least that an honest comparison needs: at four seeds, a paired t-test with
three degrees of freedom can still tell a difference of two and a half standard deviations."""

LEAST = SHAPES[-1].last
"""Seeds of the confirmation with which the shortest design is content."""

MOST_TIMES = 5
"""How many times the seeds of the best shape are selected with, at most."""

SHORTEST = 0.05
"""The shortest runs, as a share of the recipe's."""


def predict_block(seconds: list[float], jobs: int) -> float:
    """Seconds of runs, `jobs` at a time, each begun in order as soon as there is a place."""
    places = [0.0] * jobs
    for run in seconds:
        places.sort()
        places[0] += run
    return max(places)


def predict_seconds(design: Design, costs: dict[str, Cost], jobs: int) -> float:
    """Seconds of the whole; of those that are kept, the costliest are assumed."""
    own = {variant: cost.predict(design.images) for variant, cost in costs.items()}
    candidates = sorted((own[v] for v in own if v != BASELINE), reverse=True)
    total = 0.0
    if len(candidates) > FINALISTS:  # else all of them are confirmed at once
        half = max(FINALISTS, -(-len(candidates) // 2))
        total += design.first * predict_block(candidates, jobs)
        if half < len(candidates) and half > FINALISTS:
            total += design.second * predict_block(candidates[:half], jobs)
    confirmed = [own[BASELINE], *candidates[:FINALISTS]]
    return total + design.last * predict_block(confirmed, jobs)


def choose_design(
    costs: dict[str, Cost], seconds: float, whole: int, shortest: int, batch_size: int, jobs: int
) -> Design | None:
    """The best design that fits; None if none does.

    Whole runs with as many seeds as fit come first, then shorter runs with fewer seeds.

    Args:
        costs: of each variant, the baseline among them.
        seconds: what is left.
        whole, shortest: images of the longest and the shortest runs.
    """
    for shape in SHAPES:
        images = _find_longest(shape, costs, seconds, whole, batch_size, jobs)
        if images < max(shortest, shape.share * whole):
            continue
        times = 1
        if shape is SHAPES[0]:
            while times < MOST_TIMES and _fits(
                _multiply(shape, times + 1, images), costs, seconds, jobs
            ):
                times += 1
        return _multiply(shape, times, images)
    return None


def predict_least(costs: dict[str, Cost], shortest: int, jobs: int) -> float:
    """Seconds of the least that an honest comparison needs."""
    return predict_seconds(_multiply(SHAPES[-1], 1, shortest), costs, jobs)


def find_shortest(whole: int, training_images: int, batch_size: int) -> int:
    """Images of the shortest runs: one pass over the training images, or a twentieth of a run."""
    images = max(training_images, round(SHORTEST * whole))
    return max(batch_size, min(whole, images // batch_size * batch_size))


def _find_longest(
    shape: Shape, costs: dict[str, Cost], seconds: float, whole: int, batch_size: int, jobs: int
) -> int:
    low, high = 0, whole // batch_size
    while low < high:
        middle = (low + high + 1) // 2
        if _fits(_multiply(shape, 1, middle * batch_size), costs, seconds, jobs):
            low = middle
        else:
            high = middle - 1
    return low * batch_size


def _multiply(shape: Shape, times: int, images: int) -> Design:
    return Design(images, shape.first * times, shape.second * times, shape.last * times)


def _fits(design: Design, costs: dict[str, Cost], seconds: float, jobs: int) -> bool:
    return predict_seconds(design, costs, jobs) <= seconds
