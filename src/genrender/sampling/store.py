"""What a run carries from step to step, in memory or in files, a few frames at a time.

In files nothing grows with the clip but the disk space, and a run that was stopped goes on from the last
step: each step writes its latents beside those before it, and one small file says which of the two count.
These cannot be found again, so a run goes on only where all that counts is as it was written.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from genrender.errors import MediaError
from genrender.storage.checked_file import DamagedFile, read_checked, write_checked
from genrender.storage.frame_file import FrameFile
from genrender.storage.run_files import OUTPUTS_FILE, STATE_FILE, latents_file, scheduler_file
from genrender.storage.untrusted import library_errors


@runtime_checkable
class FinalTensors(Protocol):
    """One tensor for every frame of a clip, to be read."""

    def __len__(self) -> int: ...

    def __getitem__(self, frames: Any, /) -> Float32[Tensor, "n C h w"]: ...


@runtime_checkable
class FrameTensors(FinalTensors, Protocol):
    """The same, which also may be written."""

    def __setitem__(self, frames: Any, tensors: Any, /) -> None: ...


class _InFile:
    def __init__(self, path: Path, shape: Sequence[int], device: torch.device, must_exist: bool):
        self._file = FrameFile(path, shape[0], shape[1:], must_exist=must_exist)
        self._device = device

    def __len__(self) -> int:
        return len(self._file)

    def __getitem__(self, frames: Sequence[int], /) -> Tensor:
        return torch.from_numpy(self._file.read(frames)).to(self._device)

    def __setitem__(self, frames: Sequence[int], tensors: Tensor, /) -> None:
        self._file.write(frames, tensors.to("cpu", torch.float32).numpy())

    def sync(self) -> None:
        self._file.sync()

    def check(self) -> None:
        self._file.check(range(len(self)))


@dataclass(frozen=True)
class RunShape:
    """What a run stores.

    Attributes:
        shape: "F C h w" of the clip's latents.
        n_steps: evaluations of the model in all.
        chunk_size: frames that the scheduler changes at once.
    """

    shape: tuple[int, int, int, int]
    n_steps: int
    chunk_size: int

    def as_plain(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "n_steps": self.n_steps, "chunk_size": self.chunk_size}


class RunStore:
    """Latents and model outputs of all frames, and what the scheduler remembers of each chunk.

    Attributes:
        step: how many evaluations of the model are done.
        latents: as they are after these, as the scheduler keeps them.
        next_latents: where the step under way puts what becomes of them.
        outputs: guided model outputs of the step under way.

    Args:
        folder: for the files; None: in memory.
    """

    def __init__(self, folder: Path | None = None):
        self._folder = folder
        self._latents: list[FrameTensors] = []
        self.outputs: FrameTensors = torch.zeros(0)
        self.step = 0
        self._memory: dict[int, dict[str, Any]] = {}
        self._remembered: list[int] = []

    def begin(
        self, run: RunShape, device: torch.device, scheduler: Any, generators: Sequence[torch.Generator]
    ) -> None:
        """Begin, or go to where an earlier attempt stands.

        Args:
            run: what is to be stored.
            device: where the networks compute.
            scheduler: with its timesteps set; what it starts with is remembered.
            generators: for noise on the screen; they go on where the earlier attempt has left them.

        Raises:
            MediaError: a file cannot be made, or an earlier state is of another run.
            DamagedFile: what counts of an earlier state is not as it was written.
        """
        self._device = device
        self._run = run
        self._initial = {name: _copied(value) for name, value in vars(scheduler).items()}
        folder, shape = self._folder, run.shape
        if folder is None:
            # A frame's old latents are not needed once it has new ones.
            self._latents = [torch.zeros(shape, device=device)] * 2
            self.outputs = torch.zeros(shape, device=device)
            return
        is_begun = (folder / STATE_FILE).exists()
        if is_begun:
            self._load(folder / STATE_FILE, generators)
        counts = [is_begun and k == self.step % 2 for k in (0, 1)]
        latents = [_InFile(folder / latents_file(k), shape, device, counts[k]) for k in (0, 1)]
        if is_begun:
            latents[self.step % 2].check()
        self._latents = list[FrameTensors](latents)
        self.outputs = _InFile(folder / OUTPUTS_FILE, shape, device, must_exist=False)

    @property
    def latents(self) -> FrameTensors:
        return self._latents[self.step % 2]

    @property
    def next_latents(self) -> FrameTensors:
        return self._latents[(self.step + 1) % 2]

    def recall(self, scheduler: Any, chunk: int | None) -> None:
        """Put a scheduler into the state in which it left a chunk after the last step; None: as at first."""
        kept: dict[str, Any] = {}
        if chunk is not None:
            kept = self._memory.get(chunk, {}) if self._folder is None else self._read(chunk)
        vars(scheduler).clear()
        vars(scheduler).update({name: _copied(value) for name, value in {**self._initial, **kept}.items()})

    def remember(self, scheduler: Any, chunk: int) -> None:
        """Keep the state in which a scheduler leaves a chunk: what has changed since the beginning."""
        initial = self._initial
        changed = {
            name: _copied(value)
            for name, value in vars(scheduler).items()
            if isinstance(value, list) or name not in initial or initial[name] is not value
        }
        if self._folder is None:
            self._memory[chunk] = changed
        else:
            storable = {name: _storable(value) for name, value in changed.items()}
            _save_state(self._memory_file(self.step + 1, chunk), storable)
            self._remembered.append(chunk)

    def commit(self, generators: Sequence[torch.Generator]) -> None:
        """The step under way is done: from here on its latents count."""
        if self._folder is not None:
            # Before the state says that they count, they must be on the disk.
            cast(_InFile, self.next_latents).sync()
            states = [generator.get_state() for generator in generators]
            state = {**self._run.as_plain(), "step": self.step + 1, "generators": states}
            _save_state(self._folder / STATE_FILE, {**state, "chunks": self._remembered})
            self._remembered = []
        self.step += 1

    def _memory_file(self, step: int, chunk: int) -> Path:
        assert self._folder is not None
        return self._folder / scheduler_file(step, chunk)

    def _read(self, chunk: int) -> dict[str, Any]:
        if self.step == 0:
            return {}
        stored = _load_state(self._memory_file(self.step, chunk))
        return {name: self._on_device(name, value) for name, value in stored.items()}

    def _on_device(self, name: str, value: Any) -> Any:
        """What a scheduler remembers of latents goes where these are; its tables stay where they were."""
        if isinstance(value, list):
            return [self._on_device(name, entry) for entry in value]
        if not isinstance(value, torch.Tensor):
            return value
        before = self._initial.get(name)
        return value.to(before.device if isinstance(before, torch.Tensor) else self._device)

    def _load(self, file: Path, generators: Sequence[torch.Generator]) -> None:
        state = _load_state(file)
        for name, value in self._run.as_plain().items():
            if state.get(name) != value:
                raise MediaError(
                    f"{file} is of another run: its {name} is {state.get(name)}, expected {value}"
                )
        self.step = state["step"]
        states = state.get("generators", [])
        if len(states) != len(generators):
            raise MediaError(f"{file} is of a run with {len(states)} generators, expected {len(generators)}")
        for generator, before in zip(generators, states, strict=True):
            generator.set_state(before)
        for chunk in state["chunks"]:
            read_checked(self._memory_file(self.step, chunk))


def n_steps_done(folder: Path) -> int:
    """How many evaluations of the model are done in a folder of a run store; 0 where none has begun.

    Raises:
        DamagedFile: that cannot be told any more.
    """
    file = folder / STATE_FILE
    return _load_state(file)["step"] if file.exists() else 0


def _save_state(file: Path, state: Mapping[str, Any]) -> None:
    content = io.BytesIO()
    torch.save(dict(state), content)
    write_checked(file, content.getbuffer())


def _load_state(file: Path) -> dict[str, Any]:
    content = read_checked(file)
    # Of another version of PyTorch, perhaps.
    with library_errors(file.name, lambda _: DamagedFile(file), "", Exception):
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _copied(value: Any) -> Any:
    """Lists are copied: multistep schedulers shift the one that they have."""
    return list(value) if isinstance(value, list) else value


def _storable(value: Any) -> Any:
    """PyTorch's safe loader reads tensors, numbers and words."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, torch.Tensor):
        return value.cpu()
    return [_storable(entry) for entry in value] if isinstance(value, list) else value
