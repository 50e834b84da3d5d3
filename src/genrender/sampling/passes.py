"""A step's two passes through the networks: the keyframes together, then all other frames chunk by chunk.

Networks that see frames together (motion modules) get all frames in the second pass, the keyframes, too, in
windows of consecutive ones. What they say of the keyframes alone, which are no neighbours in time, is not
used: that pass is for what the layers remember.
"""

from collections.abc import Callable, Iterator, Sequence

from jaxtyping import Float32
from torch import Tensor

from genrender.errors import ConfigError
from genrender.injection.state import AttentionState
from genrender.sampling.chunks import Chunks
from genrender.sampling.windows import frame_windows, run_windows

# The guided output for some frames, by their numbers.
Predict = Callable[[list[int]], Float32[Tensor, "n C h w"]]


def predict_frames(
    predict: Predict,
    attention: AttentionState,
    made: Sequence[int],
    keyframes: Sequence[int],
    chunks: Chunks,
    progress: float = 0.0,
    window: int | None = None,
) -> Iterator[tuple[list[int], Float32[Tensor, "n C h w"]]]:
    """The guided model output for frames of a clip at one step: keyframes first, then the others.

    Args:
        predict: asks a denoiser whose layers are injected with the state `attention`.
        attention: state of the injections; where it is not active, `keyframes` are ignored.
        made: frames that are wanted, ascending.
        keyframes: frames that lend their features to all others at this step.
        chunks: how many frames go through the networks at once; the keyframes run together whatever it is.
        progress: share of the steps that are done, in [0, 1].
        window: see `Denoiser.window`; where it is a number, `chunks` are not looked at.

    Yields:
        Frames that went through the networks together, and the output for them: keyframes that are not wanted
        are among them, too.

    Raises:
        ConfigError: the networks see frames together, and not all of a clip's first ones are wanted.
    """
    others = list(made)
    if attention.is_active:
        attention.start_keyframes(keyframes, progress)
        shown = list(keyframes)
        output = predict(shown)
        if window is None:
            yield shown, output
            others = [frame for frame in others if frame not in shown]

    def of_frames(frames: list[int]) -> Tensor:
        attention.start_frames(frames)
        return predict(frames)

    if window is None:
        yield from chunks.run(others, of_frames)
    else:
        if others != list(range(len(others))):
            raise ConfigError(
                "the model's motion modules see frames together, and a part of a clip lacks neighbours: "
                "render the whole clip, or leave the motion adapter out"
            )
        for frames, output in run_windows(frame_windows(len(others), window), of_frames):
            yield frames, output
            chunks.growth.limit()
