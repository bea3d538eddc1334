"""The number of processes does not change the game: 1, 2 and 4 ranks end at the same weights."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from zerosum import Game, data, networks, objectives, optimizers, penalties
from zerosum.data.source import Ahead, encoded, part
from zerosum.game import parallel
from zerosum.schedules import ramp

PARTS, BATCH, TURNS = 4, 16, 4
OBJECTIVES: dict[str, Any] = {
    name: getattr(objectives, name)
    for name in objectives.__all__
    if name not in ("Objective", "f_divergence")
} | {"f_divergence": lambda: objectives.f_divergence("squared_hellinger")}
PENALTIES = [None, *(name for name in penalties.__all__ if name != "Penalty")]
ADAM = optimizers.adam(1e-3)
OPTIMIZERS: dict[str, Any] = {
    "sgd": optimizers.sgd(0.05, momentum=0.5),
    "clipped": optimizers.clipped(ADAM),
    "optimistic": optimizers.optimistic(ADAM),
    "lookahead_minmax": optimizers.lookahead_minmax(ADAM, every=2),
    "extragradient": optimizers.extragradient(ADAM),
    "scheduled": optimizers.scheduled(ADAM, lr=ramp(1e-3, 1e-4, steps=5)),
}


def distance(critic: Any, real: Tensor, fake: Tensor, **of_g: Any) -> Tensor:
    return (real - fake).square().sum(1)


def cases() -> dict[str, dict[str, Any]]:
    """What `game` takes, by name: every objective with two penalties, and every other thing once."""
    found: dict[str, dict[str, Any]] = {}
    for i, name in enumerate(OBJECTIVES):
        for term in (PENALTIES[i % len(PENALTIES)], PENALTIES[(i + 3) % len(PENALTIES)]):
            found[f"{name}, {term}"] = {"objective": name, "term": term}
    for name in OPTIMIZERS:
        found[name] = {"optimizer": name, "simultaneous": name == "extragradient"}
    found["r1 and r2"] = {"objective": "relativistic_pairing", "term": "r1", "second": "r2", "turns": 20}
    found["conditional, k = 2"] = {"classes": 4, "k": 2, "term": "r1"}
    found["batch norm"] = {"network": {"norm": nn.BatchNorm1d}}
    found["dropout"] = {"network": {"dropout": 0.3}}
    found["spectral norm"] = {"network": {"spectral": True}}
    found["a penalty of G"] = {"of_g": True}
    found["a layer that adapts"] = {"adapting": True}
    found["comparing, dropout"] = {"objective": "relativistic_average", "network": {"dropout": 0.3}}
    return found | COMPARING


COMPARING: dict[str, dict[str, Any]] = {
    f"comparing{name}": {"objective": "relativistic_average", **settings}
    for name, settings in {
        "": {"term": "lecam", "second": "r1"},
        ", conditional, k = 2": {"classes": 4, "k": 2, "term": "r2"},
        ", spectral norm": {"network": {"spectral": True}, "term": "lecam"},
        ", extragradient": {"optimizer": "extragradient", "simultaneous": True},
        ", a layer that adapts": {"adapting": True, "of_g": True},
    }.items()
}
"""Games whose losses compare all examples of a batch, and in which nothing draws by parts."""
SHARDED = [
    "sgd",
    "lookahead_minmax",
    "extragradient",
    "r1 and r2",
    "batch norm",
    "a penalty of G",
    "comparing",
]


class Leaning(nn.Module):
    """Adds to its input what it heard of real logits."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("lean", torch.zeros(()))

    def adapt(self, real_logits: Tensor) -> None:
        self.lean: Tensor
        self.lean.add_(real_logits.float().mean(), alpha=0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.lean.to(x)


def game(
    world: int,
    rank: int,
    objective: str = "nonsaturating",
    term: str | None = None,
    second: str | None = None,
    optimizer: str = "",
    network: dict[str, Any] | None = None,
    of_g: bool = False,
    adapting: bool = False,
    dtype: torch.dtype = torch.float64,
    parts: int = PARTS,
    **settings: Any,
) -> Game:
    torch.manual_seed(0)
    options: dict[str, Any] = {**({"classes": 4} if "classes" in settings else {}), **(network or {})}
    G: nn.Module = networks.mlp((2,), (2,), width=8, depth=2, activation=nn.Tanh, **options)
    D: nn.Module = networks.mlp((2,), (), width=8, depth=2, activation=nn.Tanh, **options)
    D = nn.Sequential(Leaning(), D) if adapting else D
    terms = [getattr(penalties, name)(0.3) for name in (term, second) if name]
    terms += [penalties.Penalty(distance, 0.2, of="G")] if of_g else []
    return Game(
        G.to(dtype),
        D.to(dtype),
        OBJECTIVES[objective](),
        [p.to(dtype) for p in terms],
        latent=2,
        batch=BATCH,
        accumulate=parts // world,
        optimizers=(OPTIMIZERS.get(optimizer, ADAM),) * 2,
        ema=0.5,
        rank=rank,
        world=world,
        **settings,
    )


def source() -> Any:
    draw = torch.Generator().manual_seed(0)
    return data.Vectors(torch.randn(64, 2, generator=draw), torch.arange(64) % 4)


def play(
    world: int,
    rank: int,
    ranks: parallel.Ranks | None,
    names: Iterable[str],
    sharded: bool = False,
    parts: int = PARTS,
) -> dict[str, dict[str, Tensor]]:
    """Where every case ends, and the logits of its last turn."""
    ends: dict[str, dict[str, Tensor]] = {}
    for name in names:
        settings = dict(cases()[name])
        length = settings.pop("turns", TURNS)
        a_game = game(world, rank, parts=parts, **settings)
        if ranks is not None:
            ranks.share(a_game)
        if ranks is not None and sharded:
            from zerosum.game.sharded import shard  # it takes a second, in each process

            shard(a_game, ranks)
        turns = [*a_game.play(source(), length)]
        state = whole(a_game) if sharded else a_game.state_dict()
        tensors = {"d_loss": turns[-1].d_loss, "real": turns[-1].real_logits, "fake": turns[-1].fake_logits}
        tensors |= {f"term {term}": value for term, value in turns[-1].penalties.items()}
        for who, which in (("G", "network"), ("G", "average"), ("D", "network")):
            kept = {k: x.double().clone() for k, x in state[who][which].items() if x.is_floating_point()}
            tensors |= {f"{who}, {which}, {k}": x for k, x in kept.items()}
        ends[name] = tensors
    return ends


def spawn(world: int, program: str, *arguments: str) -> list[subprocess.Popen[str]]:
    """A process for each rank, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world),
        "OMP_NUM_THREADS": "1",
    }
    tests = str(Path(__file__).parent)
    here = f"import sys; sys.path.insert(0, {tests!r}); import test_parallel as t; {program}"
    return [
        subprocess.Popen(
            [sys.executable, "-c", here, *arguments],
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]


def main(folder: str) -> None:
    """A rank plays every case and leaves where it ended."""
    torch.set_num_threads(1)
    ranks = parallel.join()
    assert ranks is not None
    torch.save(play(ranks.world, ranks.rank, ranks, cases()), f"{folder}/{ranks.world}-{ranks.rank}.pt")
    if ranks.world == 2:
        ends = play(2, ranks.rank, ranks, SHARDED, sharded=True)
        torch.save((ends, limit(ranks)), f"{folder}/sharded-{ranks.rank}.pt")


def whole(a_game: Game) -> Any:
    from zerosum.game.sharded import gathered

    return gathered(a_game)


def limit(ranks: parallel.Ranks) -> str:
    """What torch says of a gradient of a gradient of a network that it has sharded by itself."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    critic = networks.mlp((2,), (), width=8, depth=2)
    fully_shard(critic, mesh=init_device_mesh("cpu", (ranks.world,)))
    x = torch.randn(4, 2, requires_grad=True)
    try:
        (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
        slope.square().sum().backward()
    except RuntimeError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[int, int], Any]]:
    """Where every case ends, by (world, rank)."""
    folder = tmp_path_factory.mktemp("ranks")
    found: dict[tuple[int, int], Any] = {(1, 0): play(1, 0, None, cases())}
    for world in (2, 4):
        children = spawn(world, f"t.main({str(folder)!r})")
        for rank, child in enumerate(children):
            _, err = child.communicate(timeout=600)
            assert child.returncode == 0, err
            found[world, rank] = torch.load(folder / f"{world}-{rank}.pt")
    found |= {(0, rank): torch.load(folder / f"sharded-{rank}.pt") for rank in range(2)}
    yield found


@pytest.mark.parametrize("name", cases())
def test_the_number_of_ranks_does_not_change_the_game(name: str, ends: Any) -> None:
    for place in (place for world in (2, 4) for place in ends if place[0] == world):
        assert_same(ends[place][name], ends[1, 0][name], f"{name} of {place}")


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor], about: str) -> None:
    assert found.keys() == wanted.keys()
    for tensor, value in wanted.items():
        torch.testing.assert_close(found[tensor], value, rtol=0, atol=1e-10, msg=f"{about}: {tensor}")


def test_what_compares_the_examples_of_a_batch_compares_all_whatever_the_parts(ends: Any) -> None:
    whole = play(1, 0, None, COMPARING, parts=1)
    halves = play(1, 0, None, COMPARING, parts=2)
    for name, wanted in whole.items():
        assert_same(halves[name], wanted, f"{name}, two parts")
        for world in (1, 2, 4):
            assert_same(ends[world, world - 1][name], wanted, f"{name}, four parts by {world}")


@pytest.mark.parametrize("name", SHARDED)
def test_sharded_players_play_the_same_game(name: str, ends: Any) -> None:
    for rank in range(2):
        assert_same(ends[0, rank][0][name], ends[1, 0][name], name)


def test_torch_by_itself_cannot_yet_differentiate_a_sharded_network_twice(ends: Any) -> None:
    """When this fails torch can, and `ShardedPlayer` need not keep the weights whole between the passes."""
    assert all("storage" in ends[0, rank][1] for rank in range(2))


def test_all_ranks_end_at_the_same_bytes(ends: Any) -> None:
    for world in (2, 4):
        for a, b in combinations(range(world), 2):
            for name, tensors in ends[world, a].items():
                assert all(x.equal(ends[world, b][name][key]) for key, x in tensors.items())


LOST = """
import time
ranks = t.parallel.join()
game = t.game(ranks.world, ranks.rank)
ranks.share(game)
for turn in game.play(t.source(), 10**6):
    if turn.step == 3: print("playing", flush=True)
    if ranks.rank == 1 and turn.step == 3 and sys.argv[1] == "stop": ranks.stop = True
    if turn.step > 3 and ranks.stop: break
print("ended at", game.step, flush=True)
t.parallel.dist.barrier()  # neither takes the store away from the other
t.parallel.leave()
"""


def test_a_rank_that_stops_stops_all_at_the_same_turn() -> None:
    children = spawn(2, f"exec({LOST!r})", "stop")
    said, errors = zip(*(child.communicate(timeout=300) for child in children), strict=True)
    assert all(child.returncode == 0 for child in children), errors
    assert said[0] == said[1] and said[0].startswith("playing\nended at ")


def test_a_lost_rank_ends_the_others() -> None:
    children = spawn(2, f"exec({LOST!r})", "")
    assert children[1].stdout is not None and children[1].stdout.readline() == "playing\n"
    children[1].send_signal(signal.SIGKILL)
    _, err = children[0].communicate(timeout=300)
    children[1].communicate()
    assert children[0].returncode == 1 and "ended at" not in err


def test_one_process_needs_no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert parallel.join() is None


class Noisy:
    """A map-style dataset whose items are transformed at random; it counts what is read."""

    read = 0

    def __len__(self) -> int:
        return 20

    def __getitem__(self, i: int) -> Tensor:
        self.read += 1
        return torch.full((2,), float(i)) + torch.rand(2)


def test_a_rank_reads_its_own_items_only() -> None:
    dataset = Noisy()
    made: Any = data.source(dataset)
    before = dataset.read
    part(made, 2, 12, 1, 3)
    assert dataset.read - before == 4


@pytest.mark.parametrize("kind", ["digits", "stacked", "vectors", "ring", "folder", "ahead", "dataset"])
@pytest.mark.parametrize("world", [2, 3])
def test_the_parts_of_a_batch_are_the_batch(kind: str, world: int, tmp_path: Path) -> None:
    for i in range(7):
        Image.new("L", (8, 8), 30 * i).resize((9, 8)).save(tmp_path / f"{i}.png")
    made: Any = {
        "digits": data.digits,
        "stacked": lambda: data.Stacked(data.digits()),
        "vectors": source,
        "ring": data.ring,
        "folder": lambda: data.image_folder(tmp_path, size=8, flip=True, cache=tmp_path / "cache"),
        "ahead": lambda: Ahead(data.digits()),
        "dataset": lambda: data.source(Noisy()),
    }[kind]()
    for step in (0, 3):
        whole_x, whole_y = made.batch(step, 12)
        parts = [part(made, step, 12, rank, world) for rank in range(world)]
        assert all(x.is_floating_point() == (kind in ("vectors", "ring", "dataset")) for x, _ in parts)
        assert torch.cat([encoded(made, x) for x, _ in parts]).equal(whole_x)
        assert whole_y is None or torch.cat([y for _, y in parts]).equal(whole_y)  # type: ignore[arg-type]
