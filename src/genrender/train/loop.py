"""The one training loop: bfloat16 weights, float32 masters, averaged weights, checkpoints to resume from."""

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from genrender.backbones.precision import computes_in_bfloat16
from genrender.storage.atomic import atomic_write
from genrender.train.pause import wait_while_paused


@dataclass(frozen=True)
class LoopConfig:
    """How long and how fast to train.

    Attributes:
        steps: optimiser steps in total, those before a resume included.
        batch: pictures per step.
        learning_rate: reached after `warmup` steps, held, lowered linearly to a tenth over the last quarter.
        ema: decay of the averaged weights, which are what is shipped.
        checkpoint_s: seconds between checkpoints.
    """

    steps: int
    batch: int = 16
    learning_rate: float = 3e-4
    warmup: int = 200
    ema: float = 0.999
    checkpoint_s: float = 60.0


def learning_rate(config: LoopConfig, step: int) -> float:
    """The rate at `step` of the schedule described in `LoopConfig`."""
    rise = min(1.0, (step + 1) / config.warmup)
    left = (config.steps - step) / (0.25 * config.steps)
    return config.learning_rate * rise * min(1.0, 0.1 + 0.9 * left)


def working_copy(model: nn.Module) -> nn.Module:
    """The model in the numbers that its device computes fastest in: itself, or a copy in bfloat16.

    Weights are kept in float32 (the masters) and computed with in bfloat16. Autocast would cast them again in
    every step, and everything between two layers back and forth.
    Source: Micikevicius et al. 2018, "Mixed Precision Training" (1710.03740). Differs: bfloat16 has float32's
    range, so that the loss is not scaled.
    """
    if not computes_in_bfloat16(next(model.parameters()).device):
        return model
    return deepcopy(model).to(torch.bfloat16)


def save_checkpoint(path: Path, state: Any) -> None:
    """Write `state` so that a reader sees either the old file or the new one, whole."""
    # To an open file: writing to a path, PyTorch tells of a full disk in an error of its own.
    with atomic_write(path) as part, part.open("wb") as stream:
        torch.save(state, stream)


def _move_gradients(weights: Sequence[Tensor], masters: Sequence[Tensor]) -> None:
    """From the weights that were computed with to the float32 masters; what a step did not use has none."""
    for weight, master in zip(weights, masters, strict=True):
        master.grad = None if weight.grad is None else weight.grad.float()
        weight.grad = None


def train(
    model: nn.Module,
    loss_at: Callable[[nn.Module, int], tuple[Tensor, dict[str, float]]],
    config: LoopConfig,
    checkpoint: Path,
    label: str,
) -> nn.Module:
    """Train `model` in place and return its averaged copy.

    A checkpoint also counts the pictures that were seen, those of earlier runs included.

    Args:
        model: all modules that are trained, as one; parameters that need no gradient stay as averaged.
        loss_at: the loss of a step and figures to show; it must draw all random numbers from the step, so
            that a resumed run continues as if it had never stopped.
        config: see `LoopConfig`.
        checkpoint: file to resume from where it exists, and to write.
        label: shown before the progress bar.
    """
    averaged = deepcopy(model).requires_grad_(False)
    # Those that need no gradient, too: a later run of the same checkpoint may train them.
    masters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        masters, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    first = seen = 0
    if checkpoint.exists():
        # Loading copies to the parameters' device; counts of steps stay, on a GPU AdamW waits to read them.
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        with torch.no_grad():
            # What is not trained stays what is shipped, and the rest learns with that.
            for kept, current in zip(averaged.parameters(), model.parameters(), strict=True):
                if not current.requires_grad:
                    current.copy_(kept)
        if "optimizer" in state:  # weights taken over from a finished model have none
            optimizer.load_state_dict(state["optimizer"])
        first, seen = state["step"], state.get("seen", state["step"] * config.batch)

    def save(step: int) -> None:
        state = {"model": model.state_dict(), "averaged": averaged.state_dict()}
        facts = {"step": step, "seen": seen + (step - first) * config.batch}
        save_checkpoint(checkpoint, {**state, "optimizer": optimizer.state_dict(), **facts})

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    progress = Progress(
        *columns,
        TextColumn("{task.fields[figures]}"),
        refresh_per_second=0.5,
        speed_estimate_period=3600,  # a step may take longer than the default window of half a minute
        console=Console(stderr=True),
    )
    working = working_copy(model)
    weights, kept = list(working.parameters()), list(averaged.parameters())
    smooth: dict[str, float] = {}
    saved_at = started_at = time.monotonic()
    working.train()
    with progress:
        task = progress.add_task(label, total=config.steps, completed=first, figures="")
        for step in range(first, config.steps):
            wait_while_paused(checkpoint.parent, progress.console)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, step)
            loss, figures = loss_at(working, step)
            loss.backward()
            with torch.no_grad():
                if working is not model:
                    _move_gradients(weights, masters)
                nn.utils.clip_grad_norm_(masters, 1.0)
                optimizer.step()
                optimizer.zero_grad()
                share = 1 - min(config.ema, (1 + step) / (10 + step))
                for weight, master, mean in zip(weights, masters, kept, strict=True):
                    mean.lerp_(master, share)
                    if weight is not master:
                        weight.copy_(master)
                # Statistics, which only the copy gathers that computes: they are kept with the masters, too.
                buffers = zip(averaged.buffers(), model.buffers(), working.buffers(), strict=True)
                for mean, own, current in buffers:
                    mean.copy_(current)
                    if own is not current:
                        own.copy_(current)
            for name, value in figures.items():
                smooth[name] = value if name not in smooth else 0.98 * smooth[name] + 0.02 * value
            speed = (step + 1 - first) * config.batch / (time.monotonic() - started_at)
            text = " ".join(f"{name} {value:.4f}" for name, value in smooth.items())
            progress.update(task, completed=step + 1, figures=f"{text}  {speed:.1f} pictures/s")
            if not progress.console.is_terminal and (step + 1) % 100 == 0:
                progress.console.print(
                    f"{label} step {step + 1} {text} {speed:.1f} pictures/s", highlight=False
                )
                progress.console.file.flush()
            if time.monotonic() - saved_at > config.checkpoint_s:
                save(step + 1)
                saved_at = time.monotonic()
        if first < config.steps:
            save(config.steps)
    return averaged.eval()
