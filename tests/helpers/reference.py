"""The paper's closed form, written literally in float64: what the fast versions must equal."""

import torch


def reference_targets(
    logits, features, temperature=4.0, omega=0.5, affinity_temperature=1.0
) -> torch.Tensor:
    """Q = (1 − ω) (I − ω Â)⁻¹ P, row by row as arXiv 2104.13298, section 3, writes it."""
    logits, features = logits.double(), features.double()
    n = len(logits)
    predictions = torch.exp(logits / temperature)
    predictions = predictions / predictions.sum(dim=1, keepdim=True)
    if n == 1:
        return predictions
    lengths = features.norm(dim=1, keepdim=True)
    unit = features / torch.where(lengths == 0, 1, lengths)
    weights = torch.exp(unit @ unit.T / affinity_temperature)
    weights = weights * (1 - torch.eye(n, dtype=torch.float64))
    affinity = weights / weights.sum(dim=1, keepdim=True)
    inverse = torch.linalg.inv(torch.eye(n, dtype=torch.float64) - omega * affinity)
    return (1 - omega) * inverse @ predictions


def clustered(n, classes=10, dimensions=64, seed=0):
    """Logits, features and labels like a half-trained network's: clusters behind a ReLU."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    labels = torch.randint(classes, (n,), generator=generator)
    features = (normal(classes, dimensions)[labels] + 0.5 * normal(n, dimensions)).relu()
    logits = 5 * torch.nn.functional.one_hot(labels, classes) + 2 * normal(n, classes)
    return logits, features, labels
