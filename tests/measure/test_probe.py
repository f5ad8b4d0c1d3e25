"""The probe: its gradients against finite differences, lanes alone, and the published shape on data of low dimension."""

import copy

import pytest
import torch
from torch import nn

from stages.game import build
from stages.game.fresh import fresh
from stages.game.optimizers import optimizer
from stages.game.spec import Part, Player, Rules, Variant
from stages.measure.probe import Form, Material, ProbePoint, Watch, auc, bare, decay, probe

FREE = build.catalogue_part("constraint", Part("none", {}))


class Line(nn.Module):
    """G(z) = shift + slope z on a line in the plane: a one-dimensional manifold, `[L, B, 1]` to `[L, B, 2]`."""

    def __init__(self, lanes: int, height: float) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(lanes, 1, 1))
        self.height = nn.Parameter(torch.full((lanes, 1, 1), height))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.slope * z, self.height.expand_as(z)], 2)


def critic(seeds, width=32):
    flat = build.Flat(build.discriminator(Player("mlp", width, 2, "leaky_relu", "none"), (2,), seeds, FREE))
    adam = optimizer(flat.vector, 3e-3, Rules(optimizer="adam", beta1=0.9))

    @torch.no_grad()
    def move(gradients):
        flat.vector.sub_(adam.direction(flat.gather(gradients)))

    return flat.module, move


def draws(seeds, purpose, step, count):
    return torch.stack(
        [torch.randn(count, 1, generator=torch.Generator().manual_seed(hash((seed, purpose, step)) % 2**31)) for seed in seeds]
    )


def material(seeds, count=64):
    """Real data: the line at height 0."""

    def real(step):
        x = draws(seeds, 1, step, count)
        return torch.cat([x, torch.zeros_like(x)], 2)

    return Material(real, lambda step: draws(seeds, 2, step, count), real(10**6), draws(seeds, 2, 10**6, count))


def test_auc_is_the_share_of_pairs_with_ties_as_half():
    numbers = torch.Generator().manual_seed(0)
    high, low = (torch.randint(0, 4, (3, n), generator=numbers).double() for n in (17, 23))
    pairs = (high[:, :, None] > low[:, None, :]).double() + 0.5 * (high[:, :, None] == low[:, None, :]).double()
    assert auc(high, low) == pytest.approx(pairs.mean((1, 2)))


def test_gradient_norms_agree_with_finite_differences():
    seeds = [0, 1]
    generator, (judge, move), given = Line(2, 0.4), critic(seeds), material(seeds)
    point = Watch(generator, given).look(bare(judge, move), 0)
    exact = copy.deepcopy(judge).double()
    for name, sign in (("saturating", -1), ("non_saturating", 1)):
        losses = []
        for parameter in ("slope", "height"):
            for move in (1e-5, -1e-5):
                moved = copy.deepcopy(generator).double()
                with torch.no_grad():
                    getattr(moved, parameter).add_(move)
                    b = exact(moved(given.held_noise.double()))
                # log(1 − σ(b)) = −softplus(b); −log σ(b) = softplus(−b)
                losses.append(torch.log1p(-torch.sigmoid(b)).mean(1) if sign < 0 else -torch.log(torch.sigmoid(b)).mean(1))
        slopes = torch.stack([(losses[0] - losses[1]) / 2e-5, (losses[2] - losses[3]) / 2e-5])
        assert point.norms[name] == pytest.approx(slopes.norm(dim=0).tolist(), rel=1e-6)


@pytest.fixture(scope="module")
def separated():
    """Two parallel lines: disjoint supports, so that a perfect D exists."""
    seeds = [0, 1]
    judge, move = critic(seeds)
    return probe(Line(2, 1.0), [bare(judge, move)], material(seeds), 1000)[0]


def test_the_saturating_gradient_dies_as_d_nears_its_optimum(separated):
    """Arjovsky & Bottou 2017, theorem 2.4 and figure 2: orders of magnitude, while −log D(G(z)) keeps its gradient."""
    for lane in range(2):
        assert separated[-1].auc[lane] == 1.0
        assert decay(separated, lane, "saturating") > 2
        assert separated[-1].norms["non_saturating"][lane] > 0.5 * separated[0].norms["non_saturating"][lane]
        kept = [point.norms["saturating"][lane] for point in separated if point.step >= 50]
        assert kept == sorted(kept, reverse=True)


def test_an_own_form_with_the_non_saturating_loss_keeps_its_gradient_and_with_minimax_loses_it():
    """The same fresh D by both losses' own forms: orders of magnitude for minimax, none for the logit-space non-saturating form."""
    given, forms = material([0]), []
    for name in ("minimax", "non_saturating"):
        line = Player("mlp", 32, 2, "leaky_relu", "none")
        none, rules = Part("none", {}), Rules(optimizer="adam", beta1=0.9, discriminator_lr=3e-3)
        own = fresh(Variant("own", Part(name, {}), none, none, rules, line, line), (2,), [0], rules)
        forms.append(Form(own.player.module, own.update, {"generator": own.generator_loss}))
    falls = [decay(points, 0, "generator") for points in probe(Line(1, 1.0), forms, given, 600)]
    assert falls[0] > 1.5
    assert falls[1] < 0.5


def test_an_answer_that_is_not_finite_has_no_auc():
    high, low = torch.tensor([[1.0, 2.0], [1.0, float("nan")]]), torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    found = auc(high, low)
    assert found[0] == 1
    assert found[1].isnan()


def test_points_are_taken_at_the_start_and_the_end(separated):
    assert separated[0].step == 0
    assert separated[-1].step == 1000
    assert [point.step for point in separated] == sorted({point.step for point in separated})


def test_a_perfect_generator_is_not_told_from_data():
    """The lines coincide: no D separates them, AUC stays near ½, and the decay is not stated. 64 against 64: standard error 0.05."""
    judge, move = critic([0])
    points = probe(Line(1, 0.0), [bare(judge, move)], material([0]), 100)[0]
    assert abs(points[-1].auc[0] - 0.5) < 0.2
    assert decay(points, 0, "saturating") is None


def test_a_lane_never_sees_another_s_numbers():
    together, move = critic([0, 1])
    both = probe(Line(2, 0.5), [bare(together, move)], material([0, 1]), 20)[0]
    alone, move = critic([1])
    own = probe(Line(1, 0.5), [bare(alone, move)], material([1]), 20)[0]
    assert [point.auc[1] for point in both] == pytest.approx([point.auc[0] for point in own], abs=2e-3)
    assert both[-1].norms["saturating"][1] == pytest.approx(own[-1].norms["saturating"][0], rel=1e-3)


def test_the_generator_is_left_alone():
    generator = Line(1, 0.5)
    judge, move = critic([0])
    probe(generator, [bare(judge, move)], material([0]), 5)[0]
    assert generator.height.item() == 0.5
    assert generator.height.grad is None


def test_decay_counts_orders_of_magnitude_from_the_largest():
    points = [
        ProbePoint(0, [0.5], {"saturating": [0.1]}),
        ProbePoint(10, [0.9], {"saturating": [10.0]}),
        ProbePoint(20, [0.995], {"saturating": [0.01]}),
    ]
    assert decay(points, 0, "saturating") == pytest.approx(3.0)
    assert decay(points[:2], 0, "saturating") is None
