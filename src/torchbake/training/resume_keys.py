"""Which keys of a recipe a resumed run may change, and why the others must stay."""

FREE_KEYS = {
    "description": "is text for people",
    "data.cache": "decoded images are the same from the cache",
    "data.folder": "says where downloads are kept; the images are compared by name and label",
    "data.workers": "batches do not depend on who decodes them",
    "training.checkpoint_every": "says when checkpoints are written",
    "training.cuda_graphs": "replays the same operations",
    "training.device": "may differ in the last digits (see above)",
    "training.keep": "says which checkpoints stay",
    "training.log_every": "says when figures are printed",
    "training.nonfinite_limit": "says when a run that goes wrong ends",
    "training.on_nonfinite": "says what happens to a run that goes wrong",
    "training.rank_timeout": "says for how long ranks wait for each other",
    "training.report": "says which evaluation stands for the run in comparisons",
    "training.trackers": "sends the same figures elsewhere",
}
"""What a resumed run may change, with the reason why the result does not depend on it."""

GROWING_KEYS = {
    "training.epochs": "may be larger once the run is finished",
    "training.max_steps": "may be larger once the run is finished",
    "training.time_limit": "may be larger once the run is finished",
}
"""What a finished run may have more of when it is resumed."""

BOUND_SECTIONS = {
    "seed": "batches, augmentation and dropout",
    "data": "which images there are, and how they are augmented",
    "model": "the network, whose weights the checkpoint holds",
    "method": "the objective, whose state the checkpoint holds",
    "optimizer": "how weights are updated; the checkpoint holds its state",
    "schedule": "the learning rate of each step",
    "training": "what a step computes, and when the run is evaluated",
}
"""What must stay as it was: all other keys, by their section, with the reason."""


def may_change(key: str) -> bool:
    """Whether a resumed run may have another value of this dotted key."""
    return key in FREE_KEYS
