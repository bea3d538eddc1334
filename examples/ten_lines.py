# %% [markdown]
# # Ten lines to a generator
#
# A game is two networks and an objective; the loop is yours. In a notebook a figure below the cell follows
# it: samples, what D says of real and of generated digits, V(D, G) and the losses beside where they rest.
# Two minutes on a laptop. (`# %%` begins a cell: Jupyter with jupytext, VS Code, Spyder and PyCharm open
# this file as it is.)

# %%
import os

from torch import nn

from zerosum import Game, data, metrics, networks, objectives, penalties, pictures
from zerosum.notebook import live

STEPS = int(os.environ.get("STEPS", 3000))

# %%
digits = data.digits()  # 1,500 of the 1,797 handwritten digits that come with scikit-learn
G = networks.mlp((64,), digits.shape, output=nn.Tanh)
D = networks.mlp(digits.shape, ())
terms = [penalties.r1(weight=1.0)]
game = Game(G, D, objectives.nonsaturating(), terms, latent=64, batch=64, lr=(5e-4, 5e-4), ema=0.99)
for turn in live(game, digits, steps=STEPS):
    if turn.step % 500 == 0:
        print(f"turn {turn.step}: D's loss {turn.d_loss:.3f}, in the end {game.objective.equilibrium:.3f}")

# %% [markdown]
# What came out. A source knows how its examples become pixels, and back.

# %%
picture = pictures.tiles(digits.codec.view(game.sample(64)).numpy())
picture.save("ten_lines.png")
picture

# %% [markdown]
# How near is it? A metric is an estimate with an interval. Beside it stands its floor: what real digits
# score that the game has never seen. No generator can be expected to do better.

# %%
unseen, _ = digits.split("test").batch(0, 296)
distance = metrics.kernel_distance(unseen, game.sample(296), space="pixels")
print("generated:", distance)
print("real:     ", metrics.floor(metrics.kernel_distance, unseen, space="pixels"))
distance

# %% [markdown]
# From here: another loss is another line (`objectives.hinge()`, or two functions of your own); `zerosum
# train digits` is the same as a run on disk, with checkpoints, a diagnosis and a report.
