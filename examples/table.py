# %% [markdown]
# # Your table
#
# A data frame of any columns: numbers, dates, categories, missing cells. Here it is the wines of
# scikit-learn with a name for each cultivar (pandas is in `pip install 'zerosum[data]'`). Two minutes on a
# laptop.

# %%
import os

from sklearn.datasets import load_wine

from zerosum.metrics import tables
from zerosum.tables import TableGAN

STEPS = int(os.environ.get("STEPS", 2000))
frame = load_wine(as_frame=True).frame
frame["cultivar"] = frame.pop("target").map({0: "Barolo", 1: "Grignolino", 2: "Barbera"})
frame.head()

# %%
model = TableGAN(steps=STEPS, batch=89).fit(frame, progress=False)
made = model.sample(500)
made.head()

# %% [markdown]
# Rows that meet conditions on any columns; nothing is trained for it.

# %%
strong = model.sample(20, where={"cultivar": "Barolo"})
print(strong["alcohol"].describe())

# %% [markdown]
# How like the data it is: the shapes of single columns and the trends of pairs (1 is best, as SDMetrics
# counts).


# %%
def columns(rows):
    return {name: rows[name].to_numpy() for name in rows}


quality = tables.quality(columns(frame), columns(made))
print(quality, f"score {quality.score:.3f}")

# %% [markdown]
# And whether values occur that no real row has: none may.

# %%
print("unmet values:", tables.unmet_values(columns(frame), columns(made)) or "none")
model.save("wines")
made.to_csv("wines.csv", index=False)

# %% [markdown]
# The same on the command line: `zerosum train table --data FILE.csv`, then `zerosum sample RUN --n 1000
# --out made.csv`.
