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


class Size(NamedTuple):
    """What a run of the recipe consists of.

    Attributes:
        whole: images that it sees.
        training_images: those that there are, without those held out.
    """

    whole: int
    training_images: int
    batch_size: int


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


SHAPES = (Shape(3, 2, 6, 1.0), Shape(2, 1, 5, 1.0), Shape(2, 0, 4, 1.0), Shape(2, 0, 4, 0.0))
"""From the best to the least that an honest comparison needs: at four seeds, a paired t-test with
three degrees of freedom can still tell a difference of two and a half standard deviations. Seeds
are given up before length: what is ahead in short runs need not be so in whole ones, as where wrong
labels are learnt late."""

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
    costs: dict[str, Cost],
    seconds: float,
    size: Size,
    jobs: int,
    most: int | None = None,
) -> Design | None:
    """The best design that fits; None if none does.

    Whole runs with as many seeds as fit come first, then shorter runs with fewer seeds.

    Args:
        costs: of each variant, the baseline among them.
        seconds: what is left.
        most: seeds of a round, at most.
    """
    for shape in _limit_shapes(most):
        images = _find_longest(shape, costs, seconds, size, jobs)
        if images < max(find_shortest(size), shape.share * size.whole):
            continue
        design = _multiply(shape, 1, images)
        for times in range(2, MOST_TIMES + 1):
            more = _multiply(shape, times, images)
            if shape is not SHAPES[0] or not _fits(more, costs, seconds, jobs):
                break
            design = more
        return design
    return None


def predict_least(costs: dict[str, Cost], size: Size, jobs: int, most: int | None = None) -> float:
    """Seconds of the least that an honest comparison needs."""
    design = _multiply(_limit_shapes(most)[-1], 1, find_shortest(size))
    return predict_seconds(design, costs, jobs)


def find_shortest(size: Size) -> int:
    """Images of the shortest runs: one pass over the training images, or a twentieth of a run."""
    images = max(size.training_images, round(SHORTEST * size.whole))
    batches = images // size.batch_size * size.batch_size
    return max(size.batch_size, min(size.whole, batches))


def _limit_shapes(most: int | None) -> list[Shape]:
    if most is None:
        return list(SHAPES)
    return [
        Shape(min(s.first, most), min(s.second, most), min(s.last, most), s.share) for s in SHAPES
    ]


def _find_longest(
    shape: Shape, costs: dict[str, Cost], seconds: float, size: Size, jobs: int
) -> int:
    """Images of the longest runs of a shape that fit."""
    low, high = 0, size.whole // size.batch_size
    while low < high:
        middle = (low + high + 1) // 2
        if _fits(_multiply(shape, 1, middle * size.batch_size), costs, seconds, jobs):
            low = middle
        else:
            high = middle - 1
    return low * size.batch_size


def _multiply(shape: Shape, times: int, images: int) -> Design:
    return Design(images, shape.first * times, shape.second * times, shape.last * times)


def _fits(design: Design, costs: dict[str, Cost], seconds: float, jobs: int) -> bool:
    return predict_seconds(design, costs, jobs) <= seconds
