"""The judge: a small network that names look, colours and class of an object, and the colour around it.

It learns from renders alone, knows nothing of prompts, and is itself judged on unseen renders before it
judges a painter (`score`). The CLIP cannot stand in for it: it names the look of a quarter of patterned
renders.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from genrender.errors import ModelError
from genrender.storage.untrusted import library_errors
from genrender.train.captions import read_caption
from genrender.train.data import Shard, complete_shards, read_shard
from genrender.train.loop import LoopConfig, train
from genrender.train.vocabulary import COLORS, LOOKS, OBJECTS, Described
from genrender.train.world import Sample

FILE = "judge.safetensors"
KINDS, LOOK_NAMES, COLOR_NAMES = tuple(OBJECTS), tuple(LOOKS), tuple(COLORS)
# It looks at a square around the object, scaled to this side: so a pattern is as large on every object.
SIDE = 128
MARGIN = 0.15
# What the loss leaves out: what the caption does not tell.
UNKNOWN = -100
# Where in the square what is seen tells a class; cells along a side.
LAYOUT = 4
SHARDS_PER_STEP = 4
BATCH = 32
# Objects that are smaller parts of a picture, some 45 pixels wide, show hardly what they are.
LEAST_SHARE = 0.03


@dataclass(frozen=True)
class Labels:
    """What is true of some pictures, `UNKNOWN` where nobody knows.

    Attributes:
        look: index into `LOOKS`.
        colors: 1 for each of the object's colours; a row of `UNKNOWN` where they are not known.
        background: index into `COLORS`, of the ground or, without one, of what is behind.
        kind: index into `OBJECTS`.
    """

    look: Int64[Tensor, "N"]
    colors: Float[Tensor, "N 13"]
    background: Int64[Tensor, "N"]
    kind: Int64[Tensor, "N"]


@dataclass(frozen=True)
class Verdict:
    """What the judge sees in one picture. `colors`: the likeliest first, all of the palette."""

    look: str
    colors: tuple[str, ...]
    background: str
    kind: str

    @property
    def pair(self) -> frozenset[str]:
        """The two likeliest colours of the object."""
        return frozenset(self.colors[:2])


class _Block(nn.Module):
    """Two convolutions beside a short cut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.layers(x))


def _step(inputs: int, outputs: int, stride: int = 2) -> nn.Sequential:
    """Other channels, and half the side unless told otherwise."""
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class Judge(nn.Module):
    """A convolutional network of 0.8 million parameters. It sees an object, its mask, what is around."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(
                _step(5, 24),
                _step(24, 48),
                _Block(48),
                _step(48, 96),
                _Block(96),
                _step(96, 144, 1),
                _Block(144),
            )
        )
        self.look = nn.Linear(2 * 144, len(LOOKS))
        self.colors = nn.Linear(2 * 144, len(COLORS))
        self.background = nn.Linear(2 * 144, len(COLORS))
        self.kind = nn.Linear((2 + LAYOUT**2) * 144, len(OBJECTS))

    def forward(
        self, pixels: Float[Tensor, "N 3 H W"], mask: Float[Tensor, "N 1 H W"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits of look, colours (each for itself), background colour and class.

        Args:
            pixels: values in [-1, 1], as `cut_out` cuts them out.
            mask: 1 where the object is.
        """
        dtype = self.look.weight.dtype
        seen = torch.cat([pixels, mask, _contrast(pixels, mask)], 1)
        features = self.features(seen.to(dtype, memory_format=torch.channels_last))
        inside = F.adaptive_avg_pool2d(mask.to(features.dtype), features.shape[-2:])
        on, off = _pooled(features, inside), _pooled(features, 1 - inside)
        peak = features.where(inside > 0.3, features.new_zeros(())).amax((2, 3))
        own = torch.cat([on, peak], 1)
        layout = F.adaptive_avg_pool2d(features * inside, LAYOUT).flatten(1)
        kind = self.kind(torch.cat([own, layout], 1))
        return self.look(own), self.colors(own), self.background(torch.cat([off, on], 1)), kind

    def save(self, path: Path) -> None:
        """Write the weights in half precision."""
        save_file({name: value.half().contiguous() for name, value in self.state_dict().items()}, path)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "Judge":
        """Read what `save` wrote.

        Raises:
            ModelError: there is no judge, or not one of this version's.
        """
        judge = cls()
        if not path.is_file():
            raise ModelError(f"no judge {path}: run `genrender train pocket --stage judge` first")
        with library_errors(str(path), ModelError, "train the judge again", Exception):
            weights = load_file(path)
            judge.load_state_dict({name: value.float() for name, value in weights.items()})
        return judge.to(device).eval()

    @torch.no_grad()
    def look_at(
        self, pictures: Sequence[Float[np.ndarray, "H W 3"]], masks: Sequence[Bool[np.ndarray, "H W"]]
    ) -> list[Verdict]:
        """What it sees in pictures with values in [0, 1], each with where the object in question is."""
        verdicts: list[Verdict] = []
        device = self.look.weight.device
        for start in range(0, len(pictures), BATCH):
            part = slice(start, start + BATCH)
            cuts = [cut_out(a, b, MARGIN) for a, b in zip(pictures[part], masks[part], strict=True)]
            pixels, mask = (torch.stack(x).to(device) for x in zip(*cuts, strict=True))
            look, colors, background, kind = self(pixels * 2 - 1, mask)
            ranked = colors.argsort(1, descending=True).tolist()
            verdicts += [
                Verdict(LOOK_NAMES[a], tuple(COLOR_NAMES[i] for i in b), COLOR_NAMES[c], KINDS[d])
                for a, b, c, d in zip(
                    look.argmax(1).tolist(),
                    ranked,
                    background.argmax(1).tolist(),
                    kind.argmax(1).tolist(),
                    strict=True,
                )
            ]
        return verdicts


@torch.no_grad()
def _contrast(
    pixels: Float32[Tensor, "N 3 H W"], mask: Float32[Tensor, "N 1 H W"]
) -> Float32[Tensor, "N 1 H W"]:
    """The object along the axis on which its colours differ most: so a pattern looks alike in all colours."""
    # Principal components in float32, whatever the network computes in.
    with torch.autocast(pixels.device.type, enabled=False):
        own = (mask > 0.9).float()
        own = own / own.sum((2, 3), keepdim=True).clamp(min=1)
        apart = pixels - (pixels * own).sum((2, 3), keepdim=True)
        covariance = torch.einsum("nchw,ndhw->ncd", apart * own, apart)
        variance, axes = torch.linalg.eigh(covariance)
        along = torch.einsum("nchw,nc->nhw", apart, axes[:, :, 2])[:, None]
        spread = variance[:, 2].clamp(min=0).sqrt().clamp(min=0.15)[:, None, None, None]
        return (along / spread).clamp(-2, 2) * mask


def _pooled(features: Float[Tensor, "N C h w"], weight: Float[Tensor, "N 1 h w"]) -> Float[Tensor, "N C"]:
    return (features * weight).sum((2, 3)) / weight.sum((2, 3)).clamp(min=0.05)


def labels_of(described: Sequence[tuple[Described, str | None]]) -> Labels:
    """The labels of objects and of the colour around them, as a caption tells them."""
    colors = torch.full((len(described), len(COLORS)), float(UNKNOWN))
    for row, (group, _) in zip(colors, described, strict=True):
        if group.colors:
            row[:] = 0
            row[[COLOR_NAMES.index(color) for color in group.colors]] = 1
    return Labels(
        look=torch.tensor([LOOK_NAMES.index(g.look) if g.look else UNKNOWN for g, _ in described]),
        colors=colors,
        background=torch.tensor([COLOR_NAMES.index(color) if color else UNKNOWN for _, color in described]),
        kind=torch.tensor([KINDS.index(group.kind) for group, _ in described]),
    )


def named_objects(
    object_id: UInt8[np.ndarray, "h w"], groups: Sequence[Described]
) -> list[tuple[Described, Float32[np.ndarray, "h w"]]]:
    """Each named group with the mask of its largest instance; nothing where what is seen and what is named
    cannot be matched, and nothing of objects too small to show a pattern."""
    seen = [int(i) for i in np.unique(object_id) if i]
    ends = np.cumsum([group.count for group in groups])
    if not len(groups) or len(seen) != ends[-1]:
        return []
    parts = [seen[end - group.count : end] for group, end in zip(groups, ends, strict=True)]
    areas = np.bincount(object_id.ravel())
    masks = [(object_id == max(part, key=lambda i: areas[i])).astype(np.float32) for part in parts]
    return [
        (group, mask)
        for group, mask in zip(groups, masks, strict=True)
        if mask.sum() >= LEAST_SHARE * mask.size
    ]


def sharp_ids(
    object_id: UInt8[np.ndarray, "h w"], depth: UInt8[np.ndarray, "H W"]
) -> UInt8[np.ndarray, "H W"]:
    """Instances at picture size: a pixel is of what its depth is nearest to among the nine cells around it.

    At a cell of eight pixels a leg, and what is between legs, are one.
    """
    side, cell = len(object_id), len(depth) // len(object_id)
    blocks = depth.reshape(side, cell, side, cell).astype(np.int32)
    ids = np.pad(object_id, 1, mode="edge").astype(np.int32)
    far = np.pad(blocks[:, cell // 2, :, cell // 2], 1, mode="edge")
    place = np.arange(cell)
    best = np.full(blocks.shape, np.iinfo(np.int32).max)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            there = slice(1 + dy, 1 + dy + side), slice(1 + dx, 1 + dx + side)
            y, x = (np.abs(cell // 2 + cell * d - place) for d in (dy, dx))
            cost = 2 * np.abs(blocks - far[there][:, None, :, None]) + np.maximum(y[:, None, None], x)
            # What is nearest is told by the upper bits, whose it is by the lower ones.
            np.minimum(best, (cost << 8) + ids[there][:, None, :, None], out=best)
    return (best & 255).reshape(depth.shape).astype(np.uint8)


@dataclass(frozen=True)
class _Batch:
    pixels: Float32[Tensor, "N 3 H W"]
    mask: Float32[Tensor, "N 1 H W"]
    labels: Labels


def _batch(rng: np.random.Generator, shards: Sequence[Shard], n: int) -> _Batch:
    """Random pictures, mirrored at random, each with one of its named objects."""
    pictures, masks, described = [], [], []
    while len(pictures) < n:
        shard = shards[len(pictures) % len(shards)]
        i = int(rng.integers(len(shard.captions)))
        groups, around = read_caption(shard.captions[i])
        choices = named_objects(sharp_ids(shard.object_id[i], shard.depth[i]), groups)
        if not choices:
            continue
        group, mask = choices[int(rng.integers(len(choices)))]
        pixels, mask = cut_out(shard.image[i], mask, rng.uniform(0.02, 0.35))
        if rng.random() < 0.5:
            pixels, mask = pixels.flip(2), mask.flip(2)
        pictures.append(pixels)
        masks.append(mask)
        described.append((group, around))
    return _Batch(_worn(rng, torch.stack(pictures) / 127.5 - 1), torch.stack(masks), labels_of(described))


def cut_out(
    picture: np.ndarray, mask: np.ndarray, margin: float
) -> tuple[Float32[Tensor, "3 H W"], Float32[Tensor, "1 H W"]]:
    """Picture and mask, which may be coarser, in a square around the object with a margin on every side.

    A square that would leave the picture is moved into it, or is the whole picture.
    """
    side, cell = len(picture), len(picture) // len(mask)
    spans = [np.flatnonzero(mask.any(axis)) * cell for axis in (1, 0)]
    if not spans[0].size:
        spans = [np.array([0, side - cell])] * 2
    size = max(int(span[-1] - span[0]) + cell for span in spans)
    size = min(side, int(size * (1 + 2 * margin)) // cell * cell + cell)
    starts = [int((span[0] + span[-1] + cell - size) // 2) // cell * cell for span in spans]
    y, x = (min(max(start, 0), side - size) // cell * cell for start in starts)
    size = size // cell * cell
    cut = torch.from_numpy(picture[y : y + size, x : x + size].copy()).permute(2, 0, 1)
    where = (slice(y // cell, (y + size) // cell), slice(x // cell, (x + size) // cell))
    own = torch.from_numpy(mask[where].copy()).float()
    pixels = F.interpolate(cut[None].float(), (SIDE, SIDE), mode="bilinear", antialias=True)
    return pixels[0], F.interpolate(own[None, None], (SIDE, SIDE), mode="bilinear", antialias=True)[0]


def _worn(rng: np.random.Generator, pixels: Float32[Tensor, "N 3 H W"]) -> Float32[Tensor, "N 3 H W"]:
    """Some pictures blurred, all a little brighter or darker and noisy: painted ones have flaws, too."""
    n = len(pixels)
    blurred = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    share = torch.from_numpy(rng.choice([0.0, 0.0, 0.5, 1.0], n)).float()[:, None, None, None]
    light = torch.from_numpy(rng.uniform(0.94, 1.06, n)).float()[:, None, None, None]
    noise = torch.from_numpy(rng.normal(0, 0.03, pixels.shape[1:]).astype(np.float32))  # one for all
    return ((pixels + (blurred - pixels) * share + 1) * light - 1 + noise).clamp(-1, 1)


def _loss(outputs: tuple[Tensor, ...], labels: Labels) -> Float[Tensor, ""]:
    look, colors, background, kind = (logits.float() for logits in outputs)
    told = labels.colors[:, 0] != UNKNOWN
    # Kinds come for free with every picture and are told from the mask already.
    loss = 0.5 * F.cross_entropy(kind, labels.kind)
    for logits, truth in ((look, labels.look), (background, labels.background)):
        if (truth != UNKNOWN).any():
            loss = loss + F.cross_entropy(logits, truth, ignore_index=UNKNOWN)
    if told.any():
        loss = loss + 4 * F.binary_cross_entropy_with_logits(colors[told], labels.colors[told])
    return loss


def train_judge(folder: Path, checkpoint: Path, config: LoopConfig, device: str = "cpu") -> Judge:
    """Train on the pictures in `folder`, and return the averaged weights. 2,500 steps of 32 are enough."""
    judge = Judge().to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def loss_at(model: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng((13, step))
        indices = rng.choice(complete_shards(folder), SHARDS_PER_STEP)
        batch = _batch(rng, [read_shard(folder, int(index)) for index in indices], config.batch)
        outputs = model(batch.pixels.to(device), batch.mask.to(device))
        labels = Labels(
            *(getattr(batch.labels, name).to(device) for name in ("look", "colors", "background", "kind"))
        )
        loss = _loss(outputs, labels)
        told = labels.look != UNKNOWN
        right = (outputs[0].argmax(1) == labels.look)[told].float().mean()
        return loss, {"loss": float(loss.detach()), "look": float(right)}

    averaged = train(judge, loss_at, config, checkpoint, "judge")
    assert isinstance(averaged, Judge)
    return averaged


def score(judge: Judge, samples: Iterator[Sample], n: int) -> dict[str, float]:
    """How often it is right on `n` renders that it never saw, for each thing that the caption names.

    Returns:
        `look`, `look_where_patterned`, `colors` (both of a pattern), `background`, `kind`, each in [0, 1].
    """
    pictures, masks, truths = [], [], []
    while len(pictures) < n:
        sample = next(samples)
        for group, mask in named_objects(sharp_ids(sample.object_id, sample.depth), sample.groups)[:1]:
            pictures.append(sample.image / 255)
            masks.append(mask > 0)
            truths.append((group, read_caption(sample.caption)[1]))
    right: dict[str, list[bool]] = {}
    for verdict, (group, around) in zip(judge.look_at(pictures, masks), truths, strict=True):
        found: dict[str, Any] = {"kind": verdict.kind == group.kind}
        if group.look:
            found["look"] = verdict.look == group.look
            if group.look != "plain":
                found["look_where_patterned"] = found["look"]
        if group.colors:
            found["colors"] = set(verdict.colors[: len(group.colors)]) == set(group.colors)
        if around:
            found["background"] = verdict.background == around
        for name, value in found.items():
            right.setdefault(name, []).append(bool(value))
    return {name: float(np.mean(values)) for name, values in right.items()}
