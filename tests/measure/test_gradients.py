"""Inner products, angles and signal against noise, against closed forms."""

import pytest
import torch

from stages.measure import directional, gradients


def pieces(vector, lanes=1):
    """A vector of 6 as two pieces of every lane."""
    return [vector[:2].expand(lanes, 2), vector[2:].reshape(2, 2).expand(lanes, 2, 2)]


def test_inner_products_and_cosines_are_those_of_the_whole_vector():
    generator = torch.Generator().manual_seed(0)
    u, v = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    assert float(gradients.inner(pieces(u), pieces(v))) == pytest.approx(float(u @ v), rel=1e-14)
    assert float(gradients.cosine(pieces(u), pieces(v))) == pytest.approx(float(torch.cosine_similarity(u, v, dim=0)), rel=1e-14)
    assert float(gradients.cosine(pieces(u), pieces(-7 * u))) == pytest.approx(-1.0, rel=1e-14)
    assert gradients.cosine(pieces(u), pieces(0 * u)).isnan().all()


def test_signal_to_noise_of_two_batches_by_hand():
    """g = (3, 1): ḡ = 2, tr S = 2, (4 - 2/2) / 2 = 1.5; the other lane's numbers do not enter."""
    made = [[torch.tensor([[3.0], [50.0]])], [torch.tensor([[1.0], [-50.0]])]]
    torch.testing.assert_close(gradients.signal_to_noise(made), torch.tensor([1.5, -0.5], dtype=torch.float64))


def test_signal_to_noise_needs_two_batches():
    with pytest.raises(ValueError, match="at least 2 batches, not 1"):
        gradients.signal_to_noise([[torch.ones(1, 2)]])


def test_signal_and_noise_on_a_linear_gaussian_model():
    """L(w) = ½ mean_b (w·x_b - y_b)², x ~ N(0, I), y = w*·x + s ε: with e = w - w*, g = mean x (x·e - s ε) has

    E g = e and tr Cov g = ((P + 1) ‖e‖² + P s²) / B (E x xᵀ e eᵀ x xᵀ = ‖e‖² I + 2 e eᵀ). The mean estimate is their ratio.
    """
    parameters, batch, noise, lanes = 40, 16, 0.7, 4000
    e = torch.full((parameters,), 0.1, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)

    def gradient():
        x = torch.randn(lanes, batch, parameters, generator=generator, dtype=torch.float64)
        error = x @ e - noise * torch.randn(lanes, batch, generator=generator, dtype=torch.float64)
        return [(x * error[:, :, None]).mean(1)]

    found = gradients.signal_to_noise([gradient() for _ in range(4)])
    expected = float(e @ e) * batch / ((parameters + 1) * float(e @ e) + parameters * noise**2)
    error = float(found.std() / lanes**0.5)
    assert float(found.mean()) == pytest.approx(expected, abs=4 * error + 0.03 * expected)  # a ratio's own bias is of order 1/P
    assert (found < 0).any()


def test_pure_noise_has_next_to_no_signal():
    """For g ~ N(0, I_P) mean and variance are independent and tr S is χ²_n / (K - 1), n = P (K - 1), so that the ratio's mean is exactly
    (n / (n - 2) - 1) / K: the bias of order 1/P that the docstring speaks of, and nothing else."""
    generator = torch.Generator().manual_seed(2)
    parameters, count, lanes = 50, 3, 5000
    made = [[torch.randn(lanes, parameters, generator=generator, dtype=torch.float64)] for _ in range(count)]
    found, n = gradients.signal_to_noise(made), parameters * (count - 1)
    assert float(found.mean()) == pytest.approx((n / (n - 2) - 1) / count, abs=4 * float(found.std()) / lanes**0.5)


def test_a_leg_of_a_quadratic_is_exact_to_its_second_order():
    """L = ½ aᵀ a: change - predicted = ½ ‖Δ‖²."""
    a, step = torch.tensor([[1.0, -2.0]], dtype=torch.float64), torch.tensor([[0.1, 0.3]], dtype=torch.float64)
    found = directional.leg([a], [step], 0.5 * (a * a).sum(1), 0.5 * ((a + step) ** 2).sum(1))
    assert float(found.predicted) == pytest.approx(0.1 - 0.6, rel=1e-14)
    assert float(found.change - found.predicted) == pytest.approx(0.05, rel=1e-12)


def test_drive_is_the_others_share_and_free_of_scale():
    own, cross = torch.tensor([-1.0, -1.0, 0.0, 0.0]), torch.tensor([3.0, -1.0, 2.0, 0.0])
    assert directional.drive(own, cross).tolist()[:3] == [0.75, 0.5, 1.0]
    assert directional.drive(own, cross)[3].isnan()
    assert directional.drive(5 * own, 5 * cross).tolist()[:3] == [0.75, 0.5, 1.0]
