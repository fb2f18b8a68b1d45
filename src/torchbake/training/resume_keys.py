"""Which keys of a recipe a resumed run may change, and why the others must stay."""

FREE_KEYS = {
    "description": "is text for people",
    "data.cache": "decoded images are the same from the cache",
    "data.folder": "says where downloads are kept; the images are compared by name and label",
    "data.workers": "batches do not depend on who decodes them",
    "training.checkpoint_every": "says when checkpoints are written",
    "training.cuda_graphs": "replays the same operations",
    "training.device": "may differ in the last digits (see below)",
    "training.keep": "says which checkpoints stay",
    "training.log_every": "says when figures are printed",
    "training.report": "says which evaluation stands for the run in comparisons",
    "training.tensorboard": "writes the same figures once more",
}
"""What a resumed run may change, with the reason why the result does not depend on it."""

GROWING_KEYS = {
    "training.epochs": "may be larger once the run is finished",
    "training.max_steps": "may be larger once the run is finished",
}
"""What a finished run may have more of when it is resumed."""

BOUND_SECTIONS = {
    "seed": "batches, augmentation and dropout are functions of it",
    "data": "the images, their order and how they are augmented",
    "model": "the weights are those of this network",
    "method": "the state is that of this method",
    "optimizer": "the state is that of this optimizer",
    "schedule": "the learning rate is a function of the step and of the length of the run",
    "training": "what a step computes, and when the run is evaluated",
}
"""What must stay as it was: all other keys, by their section, with the reason."""


def may_change(key: str) -> bool:
    """Whether a resumed run may have another value of this dotted key."""
    return key in FREE_KEYS
