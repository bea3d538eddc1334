# %% [markdown]
# # The paper of 2014, claim by claim
#
# Goodfellow et al., *Generative Adversarial Nets*: each claim is predicted by a closed form, then measured
# in games that this package's engine plays. Half a minute on a laptop.

# %%
import os
from itertools import islice
from math import log

import torch

from zerosum import claims, data, objectives, theory

ROWS = int(os.environ.get("STEPS", len(claims.ROWS)))

# %% [markdown]
# ## The value
#
# V(D, G) = E_x[log D(x)] + E_z[log(1 - D(G(z)))]. Where p_g = p_data the best D says 1/2 of everything, and
# V = -log 4. D's loss is -V; at logits of 0 it is worth this, whatever the weights:

# %%
game = objectives.nonsaturating()
zero = torch.zeros(1)
print("D's loss at D = 1/2:", float(game.d(zero, zero)), " log 4 =", log(4))
print("where G rests:      ", game.resting_g_loss, " log 2 =", log(2))

# %% [markdown]
# ## The best discriminator
#
# D*(x) = p_data(x) / (p_data(x) + p_g(x)), and max_D V = -log 4 + 2 JSD(p_data, p_g):

# %%
p, q = data.gaussian(), data.gaussian(mean=1.0)
jsd = theory.jsd(p, q)
print("JSD of two Gaussians, one standard deviation apart:", jsd)
print("max V =", -log(4) + 2 * jsd.value)

# %% [markdown]
# ## Saturation
#
# Where D rejects the fakes, the gradient of log(1 - D(G(z))) vanishes; that of -log D(G(z)) is larger by
# (1 - D) / D, exactly. An objective knows it of itself:

# %%
logit = torch.tensor([-6.0], requires_grad=True)
for loss in (objectives.minimax(), objectives.nonsaturating()):
    (slope,) = torch.autograd.grad(loss.g(None, logit).sum(), logit)
    print(f"{loss.name}: saturates {loss.saturates}, gradient in the logit at D = 0.0025: {float(slope):.4f}")

# %% [markdown]
# ## All of them
#
# Every row of `zerosum theory`: what was measured, what was predicted, and whether they agree within their
# errors.

# %%
for row in islice(claims.rows(), ROWS):
    print(row.as_line())
