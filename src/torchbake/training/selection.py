"""Which evaluation of a run is kept, and whether it pays to go on, by the validation images."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..recipe import TrainingRecipe


@dataclass
class Choice:
    """The best evaluation of a network so far.

    Attributes:
        score: what it is best by: top-1 and negative NLL on the validation images.
        figures: all of this network's, under the names that they are recorded by.
        weights: None where they are not kept.
    """

    step: int
    score: tuple[float, float]
    figures: dict[str, float]
    weights: dict[str, Tensor] | None


class Selection:
    """The best evaluation so far of each network, and how many there were since any was the best.

    Args:
        networks: by what stands before their figures' names, the model's first, with none.
        keeps_weights: on this rank; the others only know which are the best.
    """

    def __init__(
        self, settings: TrainingRecipe, networks: dict[str, nn.Module], *, keeps_weights: bool
    ) -> None:
        self.wanted = settings.select != "last"
        self.patience = settings.patience
        self.networks = networks
        self.keeps_weights = keeps_weights and self.wanted
        self.choices: dict[str, Choice] = {}
        self.waited = 0

    def is_exhausted(self) -> bool:
        """Whether there were as many evaluations without improvement as patience allows."""
        return self.patience is not None and self.waited >= self.patience

    def consider(self, step: int, figures: dict[str, float]) -> None:
        """Take in an evaluation."""
        if not self.wanted and self.patience is None:
            return
        self.waited += 1
        for prefix, network in self.networks.items():
            score = (figures[f"{prefix}validation_top1"], -figures[f"{prefix}validation_nll"])
            if prefix in self.choices and not score > self.choices[prefix].score:
                continue
            self.waited = 0
            weights = None
            if self.keeps_weights:
                state = network.state_dict().items()
                weights = {name: value.detach().cpu().clone() for name, value in state}
            own = {name: v for name, v in figures.items() if self._find_prefix(name) == prefix}
            self.choices[prefix] = Choice(step, score, own, weights)

    def list_figures(self) -> dict[str, float]:
        """The figures of the evaluations that were chosen, with the `step` of each network's."""
        figures: dict[str, float] = {}
        for prefix, choice in self.choices.items():
            figures |= choice.figures | {f"{prefix}step": choice.step}
        return figures

    def restore_weights(self) -> None:
        """Give the networks the weights that were chosen."""
        for prefix, choice in self.choices.items():
            assert choice.weights is not None
            self.networks[prefix].load_state_dict(choice.weights)

    def state_dict(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        choices = {prefix: dict(vars(choice)) for prefix, choice in self.choices.items()}
        return {"waited": self.waited, "choices": choices}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.waited = state["waited"]
        for prefix, choice in state["choices"].items():
            kept = choice["weights"] if self.keeps_weights else None
            values = {**choice, "score": tuple(choice["score"]), "weights": kept}
            self.choices[prefix] = Choice(**values)

    def _find_prefix(self, name: str) -> str:
        """The prefix of a figure's name, the longest that fits."""
        return max((p for p in self.networks if name.startswith(p)), key=len)
