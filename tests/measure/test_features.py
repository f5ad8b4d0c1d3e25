"""Feature spaces: pinned bit for bit, chosen by the data, good enough to judge digits by."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from stages.measure.classifier import Classifier, multiply_adds, train_classifier
from stages.measure.features import digest, extractor, is_stacked, pin

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    source = load_digits()
    images = np.round(source.images / 16 * 255).astype(np.uint8)[:, None]
    order = np.random.default_rng(0).permutation(len(images))
    return images[order], source.target[order].astype(np.int64)


@pytest.fixture(scope="module")
def pinned(digits):
    images, labels = digits
    return pin("auto", "image", images[:1300], labels[:1300], images[1300:], labels[1300:], 10, 0)


def card_of(entry, classes: int = 10, shape=SHAPE) -> dict:
    return {
        "kind": "image",
        "shape": list(shape),
        "labels": [str(i) for i in range(classes)],
        "label_counts": {"train": [10] * classes},
        "modes": None,
        "features": entry,
    }


def scaled(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.astype(np.float32)) / 127.5 - 1.0


def test_a_thousand_digits_teach_a_classifier_97_of_100(pinned) -> None:
    _, entry = pinned
    assert (entry["name"], entry["dimensions"]) == ("classifier", 64)
    assert entry["test_accuracy"] >= 0.96


def test_features_are_the_pinned_networks_and_standardised_on_the_train_part(pinned, digits) -> None:
    tensors, entry = pinned
    encoded = extractor(card_of(entry), tensors).encode(scaled(digits[0][:1300]))
    assert encoded.features.shape == (1300, 64)
    torch.testing.assert_close(encoded.features.mean(0), torch.zeros(64), atol=1e-4, rtol=0)
    assert encoded.features.var(0).sum().item() == pytest.approx(64, rel=1e-2)


def test_encoded_modes_are_the_classes_and_the_bar_leaves_one_real_item_in_twenty_below(pinned, digits) -> None:
    tensors, entry = pinned
    images, labels = digits
    space = extractor(card_of(entry), tensors)
    encoded = space.encode(scaled(images[1300:]))
    assert (encoded.modes.numpy() == labels[1300:]).mean() == pytest.approx(entry["test_accuracy"], abs=1e-9)
    assert encoded.good.double().mean().item() == pytest.approx(0.95, abs=0.01)
    assert space.weights.shape == (10,)


def test_the_same_seed_gives_the_same_bits_and_another_seed_other_ones(digits) -> None:
    images, labels = digits[0][:200], digits[1][:200]
    runs = [pin("classifier", "image", images, labels, images[:40], labels[:40], 10, seed)[1]["digest"] for seed in (3, 3, 4)]
    assert runs[0] == runs[1] != runs[2]


def test_training_asks_no_global_random_numbers(digits) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    train_classifier(digits[0][:64], digits[1][:64], 10, 0)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (3, 17, 33), (3, 128, 128), (1, 2, 2)])
def test_classifiers_and_random_networks_take_every_size(shape) -> None:
    hidden, logits = Classifier(shape, 7)(torch.zeros(2, *shape))
    assert (hidden.shape, logits.shape) == ((2, 64), (2, 7))
    images = np.random.default_rng(0).integers(0, 256, (20, *shape), dtype=np.uint8)
    tensors, entry = pin("auto", "image", images, None, images[:4], None, 0, 0)
    features = extractor(card_of(entry, shape=shape), tensors)(scaled(images))
    assert entry["name"] == "random"
    assert features.shape == (20, entry["dimensions"])
    assert bool(features.isfinite().all())


def test_multiply_adds_of_a_network_are_counted_by_hand() -> None:
    # 8x8x16 outputs of 9 inputs, 4x4x32 outputs of 144, 64 of 512, 10 of 64
    assert multiply_adds(Classifier(SHAPE, 10), SHAPE) == 1024 * 9 + 512 * 144 + 64 * 512 + 10 * 64


def test_stacked_digits_are_named_channel_by_channel(digits) -> None:
    images, labels = digits
    rng = np.random.default_rng(0)
    picks = rng.integers(0, 1300, (600, 3)), rng.integers(1300, len(images), (300, 3))
    (train, train_labels), (test, test_labels) = ((images[p, 0], labels[p] @ [100, 10, 1]) for p in picks)
    tensors, entry = pin("auto", "image", train, train_labels, test, test_labels, 1000, 0)
    assert (entry["name"], entry["dimensions"]) == ("classifier", 192)
    assert entry["test_accuracy"] > 0.85  # three digits right at once, none of them seen in training
    named = extractor(card_of(entry, 1000, (3, 8, 8)), tensors).encode(scaled(test)).modes
    assert (named.numpy() == test_labels).mean() == pytest.approx(entry["test_accuracy"], abs=1e-9)


def test_a_thousand_classes_are_digits_only_in_three_small_channels() -> None:
    assert is_stacked((3, 8, 8), 1000)
    assert is_stacked((3, 28, 28), 1000)
    assert not any([is_stacked((3, 64, 64), 1000), is_stacked((1, 8, 8), 1000), is_stacked((3, 8, 8), 10)])


def test_vectors_stay_themselves_and_known_modes_are_named() -> None:
    vectors = np.zeros((5, 2), np.float32)
    tensors, entry = pin("auto", "vector", vectors, None, vectors, None, 0, 0)
    assert (tensors, entry["name"], entry["dimensions"]) == ({}, "identity", 2)
    card = {"kind": "vector", "shape": [2], "modes": {"centres": [[0.0, 0.0], [1.0, 0.0]], "std": 0.1}, "features": entry}
    encoded = extractor(card, {}).encode(torch.tensor([[1.0, 0.29], [0.5, 0.0]]))
    assert encoded.features.tolist() == [[1.0, pytest.approx(0.29)], [0.5, 0.0]]
    assert encoded.modes.tolist() == [1, -1]


def test_few_items_a_class_are_not_learnt_from() -> None:
    images, labels = np.zeros((50, *SHAPE), np.uint8), np.arange(50) % 10
    assert pin("auto", "image", images, labels, images[:5], labels[:5], 10, 0)[1]["name"] == "random"


@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        ("classifier", "image", "needs labelled images"),
        ("random", "vector", "needs images"),
        ("inception", "image", "allowed are auto, identity, classifier, random, file:PATH"),
        ("file:", "image", "allowed are"),
    ],
)
def test_words_that_do_not_fit_are_refused(words: str, kind: str, text: str) -> None:
    items = np.zeros((9, 1, 4, 4), np.uint8) if kind == "image" else np.zeros((9, 2), np.float32)
    with pytest.raises(ValueError, match=text):
        pin(words, kind, items, None, items, None, 0, 0)


def test_a_program_of_the_users_own_is_only_named() -> None:
    items = np.zeros((9, 1, 4, 4), np.uint8)
    tensors, entry = pin("file:inception.pt2", "image", items, None, items, None, 0, 0)
    assert (tensors, entry["name"], entry["digest"]) == ({}, "file", None)
    with pytest.raises(ValueError, match="has to be loaded"):
        extractor(card_of(entry), {})


def test_the_digest_sees_names_shapes_and_values() -> None:
    one = {"a": torch.zeros(2, 3)}
    others = [{"b": torch.zeros(2, 3)}, {"a": torch.zeros(3, 2)}, {"a": torch.ones(2, 3)}, {"a": torch.zeros(2, 3, dtype=torch.float64)}]
    assert len({digest(tensors) for tensors in [one, *others]}) == 5


def test_constant_images_give_finite_features() -> None:
    images = np.full((30, *SHAPE), 7, np.uint8)
    tensors, entry = pin("random", "image", images, None, images, None, 0, 0)
    assert bool(extractor(card_of(entry), tensors)(scaled(images)).isfinite().all())
