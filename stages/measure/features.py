"""Feature spaces: where two sets of samples are compared. Pinned once for a data set, with a digest that every score carries.

- `identity`: the vectors themselves (or an image's pixels).
- `classifier`: the 64 penultimate activations of a small network trained on the train part's labels. Data of 1,000 classes in three
  channels of at most 28 pixels are read as three stacked digits (label `100a + 10b + c`): one classifier of ten digits is trained on
  single channels and looks at each, 3 × 64 features.
- `random`: channel means and standard deviations of a seeded, untrained convolutional network, for images without labels.
- `file:PATH`: a program the user brings; its weights stay in its file (see `program`).

`classifier` and `random` features are shifted to mean 0 and divided by one number so that their total variance over the train part is d: a
generator that answers with one point at the mean scores a Fréchet distance of d, and the kernel's fixed scale fits.
Scores in spaces of different digests cannot be compared.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from stages.measure.classifier import Classifier, convolutions, initialise, one_thread, scaled, train_classifier
from stages.measure.modes import nearest_mode

BATCH = 512
FITTED = 10_000  # train items, at most, behind shift and scale
CONFIDENT = 0.05  # share of real test items that the classifier's bar for a high-quality sample leaves below
WORDS = ("auto", "identity", "classifier", "random", "file:PATH")


class Encoded(NamedTuple):
    """Samples in a feature space: features `[n, d]`; where modes are known, its mode `[n]` (−1: none) and whether it is good `[n]`."""

    features: Tensor
    modes: Tensor | None = None
    good: Tensor | None = None


class Extractor(NamedTuple):
    """A feature space at work: samples in the games' scale `[n, ...]` to features `[n, d]`; `encode` names modes too."""

    encode: Callable[[Tensor], Encoded]
    weights: Tensor | None  # share of each mode in the real data `[k]`, up to a factor

    def __call__(self, samples: Tensor) -> Tensor:
        return self.encode(samples).features


def pin(
    words: str,
    kind: str,
    train: np.ndarray,
    train_labels: np.ndarray | None,
    test: np.ndarray,
    test_labels: np.ndarray | None,
    classes: int,
    seed: int,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and card entry of the feature space that `words` names for a data set (`auto`, or one of the module's list).

    `kind` is `image` (uint8 `[N, C, H, W]`) or `vector` (float32 `[N, D]`). `auto` is `identity` for vectors, `classifier` for images with
    2 to 1,000 classes and at least 8 train items a class, else `random`. A word that does not fit the data raises ValueError.
    """
    if words == "auto":
        words = _choose(kind, train, train_labels, classes)
    if words == "identity":
        return {}, _entry("identity", hashlib.sha256(b"identity").hexdigest(), int(np.prod(train.shape[1:])), None, seed)
    if words.startswith("file:") and len(words) > len("file:"):
        return {}, _entry("file", None, None, None, seed)
    if words == "random" and kind == "image":
        return _pin_random(train, seed)
    if words == "classifier" and kind == "image" and train_labels is not None and test_labels is not None and classes >= 2:
        return _pin_classifier(train, train_labels, test, test_labels, classes, seed)
    needs = {"classifier": "labelled images of at least 2 classes", "random": "images"}
    if words in needs:
        raise ValueError(f"evaluate.features is {words!r}, which needs {needs[words]}: use auto")
    raise ValueError(f"evaluate.features is {words!r}: allowed are {', '.join(WORDS)}")


def _choose(kind: str, train: np.ndarray, labels: np.ndarray | None, classes: int) -> str:
    if kind != "image":
        return "identity"
    outputs = 10 if is_stacked(train.shape[1:], classes) else classes
    return "classifier" if labels is not None and 2 <= classes <= 1000 and train.shape[0] >= 8 * outputs else "random"


def is_stacked(shape: tuple[int, ...], classes: int) -> bool:
    """Whether images of that shape and number of classes are read as stacked digits."""
    return classes == 1000 and len(shape) == 3 and shape[0] == 3 and max(shape[1:]) <= 28


def _entry(name: str, digest: str | None, dimensions: int | None, test_accuracy: float | None, seed: int) -> dict[str, Any]:
    return {"name": name, "digest": digest, "dimensions": dimensions, "test_accuracy": test_accuracy, "seed": seed}


def _pin_random(train: np.ndarray, seed: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    network = RandomNetwork(train.shape[1], max(train.shape[2:]))
    initialise(network, torch.Generator().manual_seed(seed))
    tensors = {f"network.{key}": value for key, value in network.state_dict().items()}
    tensors |= standardisation(network.eval(), train)
    return tensors, _entry("random", digest(tensors), tensors["shift"].shape[0], None, seed)


def _pin_classifier(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, classes: int, seed: int
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if is_stacked(train.shape[1:], classes):
        model = train_classifier(*_channels(train, train_labels), 10, seed)
    else:
        model = train_classifier(train, train_labels, classes, seed)
    tensors = {f"network.{key}": value.detach() for key, value in model.state_dict().items()}
    judge = Stacked(model) if is_stacked(train.shape[1:], classes) else Named(model)
    tensors |= standardisation(lambda images: judge(images)[0], train)
    confidence, right = _judged(judge, test, test_labels)
    tensors["threshold"] = confidence.quantile(CONFIDENT) if len(confidence) else torch.zeros(())
    return tensors, _entry("classifier", digest(tensors), tensors["shift"].shape[0], right, seed)


def _channels(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stacked digits as single-channel images `[3n, 1, H, W]` and their digits `[3n]`."""
    digits = np.stack([labels // 100, labels // 10 % 10, labels % 10], axis=1)
    return np.asarray(images).reshape(-1, 1, *images.shape[2:]), digits.reshape(-1)


def _judged(
    judge: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]], images: np.ndarray, labels: np.ndarray
) -> tuple[Tensor, float | None]:
    """Confidence of each test image, and the share named right (None for an empty part)."""
    if not images.shape[0]:
        return torch.empty(0), None
    with one_thread(), torch.no_grad():
        parts = [judge(scaled(images[start : start + BATCH]))[1:] for start in range(0, images.shape[0], BATCH)]
    named = torch.cat([part[0] for part in parts])
    right = (named == torch.from_numpy(np.array(labels, dtype=np.int64))).double().mean().item()
    return torch.cat([part[1] for part in parts]), right


class RandomNetwork(nn.Module):
    """Images to the mean and standard deviation of each channel of an untrained convolutional network's last layer: `[n, 2 × channels]`."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            self.body = nn.Sequential(*convolutions(channels, side, widest=32))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.body(images).flatten(2)
        return torch.cat([maps.mean(2), maps.std(2, unbiased=False)], dim=1)


class Named:
    """A classifier's answer: hidden activations `[n, 64]`, the class it names `[n]`, its probability `[n]`."""

    def __init__(self, model: Classifier) -> None:
        self.model = model

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden, logits = self.model(images)
        confidence, named = logits.softmax(1).max(1)
        return hidden, named, confidence


class Stacked:
    """A digit classifier on each channel: `[n, 3 × 64]`, `100a + 10b + c`, the least sure channel's probability."""

    def __init__(self, model: Classifier) -> None:
        self.one = Named(model)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n = images.shape[0]
        hidden, named, confidence = self.one(images.reshape(3 * n, 1, *images.shape[2:]))
        places = torch.tensor([100, 10, 1])
        return hidden.reshape(n, -1), (named.reshape(n, 3) * places).sum(1), confidence.reshape(n, 3).min(1).values


def standardisation(network: Callable[[Tensor], Tensor], train: np.ndarray) -> dict[str, Tensor]:
    """`shift` `[d]` and `scale` (one number) that give the first 10,000 train items mean 0 and total variance d."""
    items = train[:FITTED]
    with one_thread(), torch.no_grad():
        hidden = torch.cat([network(scaled(items[start : start + BATCH])) for start in range(0, len(items), BATCH)]).double()
    scale = hidden.var(0, unbiased=False).mean().sqrt()
    return {"shift": hidden.mean(0).float(), "scale": (scale if scale > 0 else torch.ones_like(scale)).float()}


def digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names, shapes, types and bytes, in the order of the names."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().contiguous()
        total.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        total.update(value.numpy().tobytes())
    return total.hexdigest()


def extractor(card: Mapping[str, Any], tensors: Mapping[str, Tensor], program: Callable[[Tensor], Tensor] | None = None) -> Extractor:
    """The pinned feature space of a prepared data set: its card and the tensors of features.safetensors.

    `program` is the loaded `file:PATH`, called on images in [−1, 1], where the card's features are `file`. NaN and infinity are passed on.
    """
    name, shape = card["features"]["name"], tuple(card["shape"])
    if name == "identity":
        return _identity(card)
    if name == "file":
        if program is None:
            raise ValueError("the card's features are a program of the user's own: it has to be loaded")
        return Extractor(lambda samples: Encoded(program(samples).flatten(1)), None)
    if name == "random":
        network = RandomNetwork(shape[0], max(shape[1:]))
        network.load_state_dict(_weights(tensors))
        return Extractor(lambda samples: Encoded(_standard(network.eval()(samples), tensors)), None)
    return _classifier(card, tensors, shape)


def _identity(card: Mapping[str, Any]) -> Extractor:
    if card.get("modes") is None:
        return Extractor(lambda samples: Encoded(samples.flatten(1)), None)
    centres = torch.tensor(card["modes"]["centres"], dtype=torch.float64)
    std = torch.as_tensor(card["modes"]["std"], dtype=torch.float64)
    return Extractor(
        lambda samples: Encoded(samples.flatten(1), *nearest_mode(samples.flatten(1), centres, std)),
        torch.ones(centres.shape[0], dtype=torch.float64),
    )


def _classifier(card: Mapping[str, Any], tensors: Mapping[str, Tensor], shape: tuple[int, ...]) -> Extractor:
    classes = len(card["labels"])
    stacked = is_stacked(shape, classes)
    model = Classifier((1, *shape[1:]), 10) if stacked else Classifier(shape, classes)
    model.load_state_dict(_weights(tensors))
    judge = Stacked(model.eval()) if stacked else Named(model.eval())

    def encode(samples: Tensor) -> Encoded:
        hidden, named, confidence = judge(samples)
        return Encoded(_standard(hidden, tensors), named, confidence >= tensors["threshold"])

    return Extractor(encode, torch.tensor(card["label_counts"]["train"], dtype=torch.float64))


def _weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix("network."): value for key, value in tensors.items() if key.startswith("network.")}


def _standard(hidden: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
    return (hidden - tensors["shift"]) / tensors["scale"]
