"""The moving average of the weights."""

import torch
from torch import nn
from torch.nn import functional as F

from torchbake.training.average import WeightAverage


def test_it_is_the_average_as_written_and_goes_on_from_its_state():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average = WeightAverage(network, 0.9)
    optimizer = torch.optim.SGD(network.parameters(), 0.5)
    expected = None
    for step in range(5):
        F.mse_loss(network(torch.randn(8, 3)), torch.zeros(8, 4)).backward()
        optimizer.step()
        optimizer.zero_grad()
        now = {name: value.detach().clone() for name, value in network.state_dict().items()}
        counter = now.pop("1.num_batches_tracked")
        if expected is None:
            expected = now
        else:
            expected = {name: 0.9 * expected[name] + 0.1 * now[name] for name in now}
        average.update(network)
        if step == 2:  # as behind a crash
            state = average.state_dict()
            average = WeightAverage(network, 0.9)
            average.load_state_dict(state)
    averaged = average.network.state_dict()
    assert averaged.pop("1.num_batches_tracked").equal(counter)
    torch.testing.assert_close(averaged, expected)
    assert not any(weight.requires_grad for weight in average.network.parameters())
    assert not average.network.training


def test_nothing_of_it_is_left_on_another_device():
    network = nn.BatchNorm1d(4, device="meta")
    average = WeightAverage(network, 0.9)
    average.update(network)  # would fail where the host is asked for a value
    devices = [t.device.type for t in (*average.network.parameters(), *average.network.buffers())]
    assert set(devices) == {"meta"}
