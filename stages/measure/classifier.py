"""A small convolutional classifier, trained bit for bit alike from a seed, whose penultimate layer is a feature space."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

WIDTH = 64  # units of the penultimate layer
BATCH = 64
EPOCHS = 24
LONGEST_RUN = 3000  # steps
WORK = 2e11  # multiply-adds of training, forward and backward: about 40 s on one core
SMALLEST_RUN = 150  # steps, whatever they cost


def convolutions(channels: int, side: int, first: int = 16, widest: int = 64) -> list[nn.Module]:
    """Convolutions down to a side of at most 4: the first keeps the resolution of images up to 16 pixels (halves it up to 64, quarters it
    above), every other halves it.

    Channels double from `first` up to `widest`; SiLU after each; no normalisation, so that an image's features are its own.
    """
    layers: list[nn.Module] = []
    width, stride = first, 1 if side <= 16 else 2 if side <= 64 else 4
    while True:
        layers += [nn.Conv2d(channels, width, 3, stride=stride, padding=1), nn.SiLU()]
        side = -(-side // stride)
        if side <= 4:
            return layers
        channels, width, stride = width, min(2 * width, widest), 2


class Classifier(nn.Module):
    """Images `[n, C, H, W]` in [−1, 1] to penultimate activations `[n, 64]` (SiLU) and logits `[n, classes]`."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):  # torch's own initial weights would move the global stream
            self.body = nn.Sequential(*convolutions(shape[0], max(shape[1:])), nn.Flatten())
            flat = self.body(torch.zeros(1, *shape)).shape[1]
            self.penultimate = nn.Sequential(nn.Linear(flat, WIDTH), nn.SiLU())
            self.head = nn.Linear(WIDTH, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.penultimate(self.body(images))
        return hidden, self.head(hidden)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order: floats must not depend on the machine's cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """He-normal weights (gain of a rectifier) and zero biases, from the generator alone."""
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                fan_in = layer.weight[0].numel()
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * (2.0 / fan_in) ** 0.5)
                layer.bias.zero_()


def scaled(images: np.ndarray | Tensor) -> Tensor:
    """uint8 images as floats in [−1, 1]: `x / 127.5 − 1`."""
    return torch.from_numpy(np.array(images, dtype=np.float32)) / 127.5 - 1.0


def train_classifier(images: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> Classifier:
    """A classifier of uint8 images `[n, C, H, W]`, trained on one thread by Adam with a one-cycle rate and label smoothing 0.1.

    The run is `EPOCHS` passes, `LONGEST_RUN` steps, or as many steps as cost `WORK` multiply-adds, whichever is least. Each batch is moved
    by at most one pixel in each direction (the only augmentation), which keeps a thousand digits from being learnt by heart.
    """
    generator = torch.Generator().manual_seed(seed)
    model = Classifier(images.shape[1:], classes)
    initialise(model, generator)
    steps = _steps(model, images)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    targets = torch.from_numpy(np.array(labels, dtype=np.int64))
    with one_thread():
        for _ in range(steps):
            pick = torch.randint(images.shape[0], (min(BATCH, images.shape[0]),), generator=generator)
            batch = _moved(scaled(images[pick.numpy()]), generator)
            loss = nn.functional.cross_entropy(model(batch)[1], targets[pick], label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def _moved(batch: Tensor, generator: torch.Generator) -> Tensor:
    """The batch moved by −1, 0 or 1 pixel each way, edges repeated."""
    rows, columns = torch.randint(0, 3, (2,), generator=generator).tolist()
    padded = nn.functional.pad(batch, (1, 1, 1, 1), mode="replicate")
    return padded[:, :, rows : rows + batch.shape[2], columns : columns + batch.shape[3]]


def _steps(model: Classifier, images: np.ndarray) -> int:
    """Steps of the run: counted from shapes, so that no clock decides them."""
    wanted = min(LONGEST_RUN, EPOCHS * max(1, images.shape[0] // BATCH))
    affordable = int(WORK / (3 * BATCH * multiply_adds(model, images.shape[1:])))
    return min(wanted, max(SMALLEST_RUN, affordable))


def multiply_adds(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-adds of one image's forward pass through the convolutions and linear layers."""
    total = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        weight = layer.weight
        assert isinstance(weight, Tensor)
        total += output[0].numel() * weight[0].numel()

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        model(torch.zeros(1, *shape))
    for hook in hooks:
        hook.remove()
    return total
