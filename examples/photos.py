# %% [markdown]
# # Your photos
#
# A folder of images of any kind and size becomes a generator. Here it is made of patches of the two
# photographs that come with scikit-learn; set `PHOTOS` to a folder of your own, and `SIZE` and `STEPS` for
# what you have time for. Ten minutes on a laptop as it stands.

# %%
import os
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_sample_images

import zerosum
from zerosum import recipe
from zerosum.notebook import live
from zerosum.run.run import Run
from zerosum.sampling import Sampler

STEPS, SIZE = int(os.environ.get("STEPS", 2000)), int(os.environ.get("SIZE", 16))
folder = Path(os.environ.get("PHOTOS", "patches"))
folder.mkdir(exist_ok=True)
if not any(folder.iterdir()):
    for name, photo in zip(("china", "flower"), load_sample_images().images, strict=True):
        for top in range(0, 416, 32):
            for left in range(0, 608, 32):
                patch = photo[top : top + 32, left : left + 32]
                Image.fromarray(patch).save(folder / f"{name}-{top}-{left}.png")

# %% [markdown]
# A recipe is all the choices of a run, as data; the preset `photos` suits folders. What differs from the
# defaults:

# %%
fields = {"data": recipe.data_component(str(folder)), "data.size": SIZE, "steps": STEPS}
chosen = recipe.load("photos", fields)
chosen

# %% [markdown]
# A run is a directory. Interrupt this cell and run it again: it goes on from the last checkpoint, and ends
# with the same bytes in its weights as one that was never stopped.

# %%
with Run.start("runs/photos", chosen) as run:
    print(*run.notes, sep="\n")
    for record in live(run):
        print(f"step {record['step']}: D's loss {record['d_loss']:.3f}")
    for finding in run.findings:
        print(finding.name, *finding.evidence, sep="\n  ")
run

# %% [markdown]
# The generator by itself, as somebody else would load it:

# %%
G = zerosum.load("runs/photos")
print(G, G.sample(4, seed=1).shape)
picture = Sampler.overview(G)
picture.save("photos.png")
picture

# %% [markdown]
# Next, on the command line: `zerosum evaluate runs/photos` judges it against images it has not seen,
# `zerosum sample runs/photos --nearest 2` shows the training images nearest to samples, `zerosum export
# runs/photos --to mine` hands it on with a model card.
