"""Combinations without a meaning, each as one line that says what to do."""

from collections.abc import Iterator

from stages.game.spec import Variant, network_for
from stages.game.vocabulary import GanLoss, Penalty


def combination_mistakes(variant: Variant, loss: GanLoss, penalty: Penalty) -> Iterator[str]:
    """What is wrong between the parts of a variant, whatever its data."""
    yield from _discriminator_mistakes(variant, penalty)
    yield from _method_mistakes(variant)
    rules = variant.rules
    if rules.augment == "ada" and not loss.logistic:
        yield f"augment ada with loss {variant.loss.name}: it asks for a loss in which a logit's sign is D's decision; use diffaugment"


def data_mistakes(variant: Variant, shape: tuple[int, ...], batch: int) -> Iterator[str]:
    """What is wrong between a variant and its data `[*shape]` or its batch."""
    rules = variant.rules
    if rules.augment != "none" and len(shape) != 3:
        yield f"augment {rules.augment} is for images; the data's shape is {list(shape)}: use augment none, or instance_noise"
    if batch % rules.pack:
        yield f"pack {rules.pack} does not divide the batch of {batch}: choose a batch that is a multiple of it"
    if variant.discriminator.minibatch_std and network_for(variant.discriminator, shape) == "linear":
        yield "minibatch_std with network linear: D would not be a line any more; choose mlp, dcgan or resnet"


def _discriminator_mistakes(variant: Variant, penalty: Penalty) -> Iterator[str]:
    because = f"with penalty {variant.penalty.name}: the gradient at one sample would depend on the others; use "
    if penalty.differentiates_input and variant.discriminator.normalisation == "batch":
        yield f"batch norm in the discriminator {because}normalisation layer or none"
    if penalty.differentiates_input and variant.discriminator.minibatch_std:
        yield f"minibatch_std in the discriminator {because}minibatch_std false, or pack"
    if variant.generator.minibatch_std:
        yield "generator.minibatch_std is true: it is the discriminator that can look at a batch's spread; set it there"


def _method_mistakes(variant: Variant) -> Iterator[str]:
    rules = variant.rules
    steps = f"critic_steps {rules.critic_steps}, generator_steps {rules.generator_steps}"
    if rules.method == "extra_gradient" and (rules.order != "simultaneous" or rules.critic_steps != 1 or rules.generator_steps != 1):
        yield f"method extra_gradient with order {rules.order}, {steps}: both players look ahead at once; set simultaneous, 1 and 1"
    if rules.method == "extra_gradient" and rules.optimizer.startswith("optimistic_"):
        yield f"method extra_gradient with optimizer {rules.optimizer}: both look ahead; use {rules.optimizer.removeprefix('optimistic_')}"
    if rules.method != "extra_gradient" and rules.order == "simultaneous" and rules.generator_steps != 1:
        yield f"order simultaneous with {steps}: G takes one step with D's last one; set generator_steps 1, or order alternating"
