"""The toy game of `speed.py`, written by hand in JAX: what a compiler of whole loops makes of it.

    PYTHON benchmarks/toy_jax.py [--seeds 1] [--batch 256] [--cores 1]

PYTHON is any interpreter that has jax. The same players, batch, data and losses; Adam is our own; 100 turns
are one compiled `lax.scan`, data and noise drawn inside, and several seeds are one `vmap`. Prints a line of
JSON, the seconds of the first scan, compilation included, and the version of jax; then, for each line that it
reads, a number of seconds, the turns per second, summed over seeds, of a window as long. Seconds are those of
the processor, of all threads.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from itertools import pairwise
from typing import Any

WIDTHS, LATENT = (128, 128, 128), 2
LR, B1, B2, EPS = 2e-4, 0.5, 0.999, 1e-8


def scan_of(seeds: int, batch: int, turns: int) -> tuple[Any, Any]:
    """(carry -> carry after so many turns, compiled; the first carry)"""
    import jax
    import jax.numpy as jnp

    angles = 2 * jnp.pi * jnp.arange(8) / 8
    modes = jnp.stack([jnp.cos(angles), jnp.sin(angles)], 1)

    def network(key: Any, inputs: int, outputs: int) -> Any:
        widths = (inputs, *WIDTHS, outputs)
        layers = []
        for before, after in pairwise(widths):
            key, of_w, of_b = jax.random.split(key, 3)
            end = before**-0.5
            w = jax.random.uniform(of_w, (before, after), minval=-end, maxval=end)
            layers.append((w, jax.random.uniform(of_b, (after,), minval=-end, maxval=end)))
        return layers

    def apply(layers: Any, x: Any) -> Any:
        for w, b in layers[:-1]:
            x = jax.nn.relu(x @ w + b)
        return x @ layers[-1][0] + layers[-1][1]

    def adam(theta: Any, state: Any, gradient: Any, t: Any) -> tuple[Any, Any]:
        m, v = state
        m = jax.tree.map(lambda m, g: B1 * m + (1 - B1) * g, m, gradient)
        v = jax.tree.map(lambda v, g: B2 * v + (1 - B2) * g * g, v, gradient)
        m_scale, v_scale = 1 / (1 - B1**t), 1 / (1 - B2**t)
        theta = jax.tree.map(
            lambda p, m, v: p - LR * m * m_scale / (jnp.sqrt(v * v_scale) + EPS), theta, m, v
        )
        return theta, (m, v)

    def d_loss(d: Any, real: Any, fake: Any) -> Any:
        return (jax.nn.softplus(-apply(d, real)).mean() + jax.nn.softplus(apply(d, fake)).mean()) / 2

    def g_loss(g: Any, d: Any, z: Any) -> Any:
        return jax.nn.softplus(-apply(d, apply(g, z))).mean()

    def turn(carry: Any, _: None) -> tuple[Any, None]:
        key, t, g, g_state, d, d_state = carry
        key, of_k, of_x, of_z, of_fresh_z = jax.random.split(key, 5)
        t = t + 1
        real = modes[jax.random.randint(of_k, (batch,), 0, 8)]
        real = real + 0.01 * jax.random.normal(of_x, (batch, 2))
        fake = apply(g, jax.random.normal(of_z, (batch, LATENT)))
        d, d_state = adam(d, d_state, jax.grad(d_loss)(d, real, fake), t)
        z = jax.random.normal(of_fresh_z, (batch, LATENT))
        g, g_state = adam(g, g_state, jax.grad(g_loss)(g, d, z), t)
        return (key, t, g, g_state, d, d_state), None

    def begin(key: Any) -> Any:
        of_turns, of_g, of_d = jax.random.split(key, 3)
        g, d = network(of_g, LATENT, 2), network(of_d, 2, 1)
        zeros = lambda theta: jax.tree.map(jnp.zeros_like, theta)  # noqa: E731
        return of_turns, jnp.zeros(()), g, (zeros(g), zeros(g)), d, (zeros(d), zeros(d))

    def many(carry: Any) -> Any:
        return jax.lax.scan(turn, carry, None, turns)[0]

    keys = jax.random.split(jax.random.key(0), seeds)
    if seeds == 1:
        return jax.jit(many), jax.jit(begin)(keys[0])
    return jax.jit(jax.vmap(many)), jax.jit(jax.vmap(begin))(keys)


def serve(seeds: int, batch: int) -> None:
    import jax

    turns = max(100 // seeds, 10)
    scan, carry = scan_of(seeds, batch, turns)
    begun = time.process_time()
    carry = jax.block_until_ready(scan(carry))
    print(json.dumps({"first": time.process_time() - begun, "jax": jax.__version__}), flush=True)
    for line in sys.stdin:
        scans, begun = 0, time.process_time()
        while (spent := time.process_time() - begun) < float(line):
            carry, scans = jax.block_until_ready(scan(carry)), scans + 1
        print(scans * turns * seeds / spent, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--cores", type=int, default=1)
    known = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-known.cores :])
    serve(known.seeds, known.batch)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
