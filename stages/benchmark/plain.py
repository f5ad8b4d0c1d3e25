"""A plain loop, written the usual way: one network a player, one seed at a time, torch.nn and torch.optim. The yardstick.

The mathematics is a lane's: same initial weights, losses, penalties, updates and average of G. What a usual loop does besides is left
in: `backward()` in G's step also computes D's gradients.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.benchmark import cases
from stages.benchmark.cases import Case
from stages.game.lanes import base, channels, halvings

Penalty = Callable[[nn.Module, Tensor, Tensor, Tensor, Tensor], Tensor]  # (D, real, its logits, fake, u [B]) to a number


def dcgan_generator(shape: tuple[int, ...], latent: int, width: int) -> nn.Sequential:
    """Linear, then transposed convolutions, batch norm before every ReLU."""
    times = halvings(*shape[1:])
    start = (channels(width, times), *base(times, *shape[1:]))
    layers: list[nn.Module] = [
        nn.Linear(latent, start[0] * start[1] * start[2]),
        nn.Unflatten(1, start),
        nn.BatchNorm2d(start[0]),
        nn.ReLU(),
    ]
    for level in range(times, 1, -1):
        into = channels(width, level - 1)
        layers += [nn.ConvTranspose2d(channels(width, level), into, 4, 2, 1, bias=False), nn.BatchNorm2d(into), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, shape[0], 4, 2, 1), nn.Tanh())


def dcgan_discriminator(shape: tuple[int, ...], width: int) -> nn.Sequential:
    """Strided convolutions, then Linear."""
    times = halvings(*shape[1:])
    layers: list[nn.Module] = [nn.Conv2d(shape[0], width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for level in range(2, times + 1):
        layers += [nn.Conv2d(channels(width, level - 1), channels(width, level), 4, 2, 1), nn.LeakyReLU(0.2)]
    features = channels(width, times) * (shape[1] >> times) * (shape[2] >> times)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 1))


def no_penalty(critic: nn.Module, real: Tensor, logits: Tensor, fake: Tensor, u: Tensor) -> Tensor:
    """Zero."""
    return real.new_zeros(())


def r1(critic: nn.Module, real: Tensor, logits: Tensor, fake: Tensor, u: Tensor) -> Tensor:
    """½ ‖∇D(x)‖², mean over the batch."""
    (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return 0.5 * gradient.flatten(1).square().sum(1).mean()


def gradient_penalty(critic: nn.Module, real: Tensor, logits: Tensor, fake: Tensor, u: Tensor) -> Tensor:
    """10 (‖∇D(x̂)‖ - 1)², mean over the batch."""
    mix = u.view(-1, 1, 1, 1)
    x = (mix * real + (1 - mix) * fake).requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return 10 * (gradient.flatten(1).norm(dim=1) - 1).square().mean()


PENALTIES: dict[str, Penalty] = {"none": no_penalty, "r1": r1, "gradient_penalty": gradient_penalty}


class PlainLoop:
    """One seed's dcgan, started from lane 0 of the case's game."""

    def __init__(self, case: Case, dtype: torch.dtype = torch.float32) -> None:
        rules = cases.variant(case.network, case.penalty).rules
        self.case, self.penalty = case, PENALTIES[case.penalty]
        self.generator = dcgan_generator(case.shape, cases.LATENT, 16).to(dtype)
        self.average = dcgan_generator(case.shape, cases.LATENT, 16).to(dtype)
        self.discriminator = dcgan_discriminator(case.shape, 16).to(dtype)
        self._start_from_lane(dtype)
        betas = (rules.beta1, rules.beta2)
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), rules.generator_lr, betas)
        self.discriminator_optimizer = torch.optim.Adam(self.discriminator.parameters(), rules.discriminator_lr, betas)
        self.half_life, self.steps = rules.ema_half_life * cases.STEPS, 0

    def _start_from_lane(self, dtype: torch.dtype) -> None:
        lane = cases.game(Case(self.case.network, self.case.shape, self.case.penalty, 1, self.case.batch), dtype)
        for player, mine in ((lane.generator, self.generator), (lane.discriminator, self.discriminator)):
            mine.load_state_dict({**mine.state_dict(), **_as_plain(dict(zip(player.names, player.parameters, strict=True)), mine)})
        self.average.load_state_dict(self.generator.state_dict())

    def discriminator_step(self, real: Tensor, noise: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """D's loss and penalty at the weights before the step."""
        fake = self.generator(noise).detach()
        real.requires_grad_(self.penalty is r1)
        logits = self.discriminator(real)
        loss = (functional.softplus(-logits) + functional.softplus(self.discriminator(fake))).mean()
        penalty = self.penalty(self.discriminator, real, logits, fake, u)
        self.discriminator_optimizer.zero_grad()
        (loss + penalty).backward()
        self.discriminator_optimizer.step()
        return loss.detach(), penalty.detach()

    def generator_step(self, noise: Tensor) -> Tensor:
        """G's loss at the weights before the step."""
        loss = functional.softplus(-self.discriminator(self.generator(noise))).mean()
        self.generator_optimizer.zero_grad()
        loss.backward()
        self.generator_optimizer.step()
        self.steps += 1
        self._average()
        return loss.detach()

    @torch.no_grad()
    def _average(self) -> None:
        weight = 1 - 0.5 ** (1 / min(self.half_life, 0.05 * self.steps))
        for mine, theirs in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mine.lerp_(theirs, weight)
        for running, present in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            if running.is_floating_point():
                running.lerp_(present, weight)

    def turn(self, data: Tensor) -> None:
        """One step of each player on fresh draws."""
        batch, device = self.case.batch, data.device
        real = data[torch.randint(len(data), (batch,), device=device)].float() / 127.5 - 1
        self.discriminator_step(real, torch.randn(batch, cases.LATENT, device=device), torch.rand(batch, device=device))
        self.generator_step(torch.randn(batch, cases.LATENT, device=device))


def _as_plain(named: dict[str, Any], module: nn.Module) -> dict[str, Tensor]:
    """Lane 0's parameters under torch.nn's names, in order: a Linear's weight is transposed, a norm's scale and shift are its own."""
    mine = [(key, value) for key, value in module.state_dict().items() if key in dict(module.named_parameters())]
    linear = {f"{name}.weight" for name, part in module.named_modules() if isinstance(part, nn.Linear)}
    lanes = [value[0].detach() for value in named.values()]
    return {key: (lane.T if key in linear else lane).reshape(value.shape) for (key, value), lane in zip(mine, lanes, strict=True)}
