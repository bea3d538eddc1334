"""Paired translation: the left half of a digit gives the right one (as pix2pix, Isola et al. 2017)."""

import torch
from torch import nn

from zerosum import Game, Penalty, data, networks, objectives, penalties


class Halves:
    """x: right halves ``[n, 1, 8, 4]``; y, what belongs to them: the left halves."""

    shape = (1, 8, 4)

    def __init__(self, split):
        self.digits = data.digits(split)

    def batch(self, step, n):
        left, right = self.digits.batch(step, n)[0].chunk(2, dim=3)
        return right, left


class Beside(nn.Module):
    """A network of its input and the left half, side by side."""

    def __init__(self, size, shape, output=nn.Identity):
        super().__init__()
        self.network = networks.mlp((size + 32,), shape, width=256, output=output)

    def forward(self, x, y):
        return self.network(torch.cat([x.flatten(1), y.flatten(1)], 1))


def l1(critic, real, fake, **_):
    return (real - fake).abs().flatten(1).mean(1)


G, D = Beside(8, Halves.shape, nn.Tanh), Beside(32, ())
terms = [penalties.r1(weight=0.1), Penalty(l1, weight=10.0, of="G")]
game = Game(G, D, objectives.nonsaturating(), terms, latent=8, batch=64, lr=(5e-4, 5e-4), conditional=True)
(right, left), mean = Halves("test").batch(0, 297), Halves("train").batch(0, 1500)[0].mean(0)
print(f"error per pixel on unseen digits; of the mean right half: {(mean - right).abs().mean():.3f}")
for turn in game.play(Halves("train"), steps=1500):
    if turn.step % 250 == 249:
        error = (game.generate(game.noise(297), y=left) - right).abs().mean()
        print(f"turn {turn.step + 1}: {error:.3f}")
