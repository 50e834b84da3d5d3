"""Networks that steer a UNet by pictures of the scene: ControlNets, ControlNet-Union and T2I-Adapters.

Several may steer at once; what they say is added. A pipeline of diffusers holds them as `controlnet`: one
network, or diffusers' `MultiControlNetModel` with one entry for every `Control`, where a network that sees
several pictures stands several times.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from diffusers.models.adapter import T2IAdapter
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel
from diffusers.models.controlnets.multicontrolnet import MultiControlNetModel
from diffusers.models.controlnets.multicontrolnet_union import MultiControlNetUnionModel
from jaxtyping import Float, Float32
from torch import Tensor

from genrender.backbones.protocol import Conditions, Step
from genrender.backbones.recipe import Control
from genrender.config import ControlKind
from genrender.errors import ConfigError, ModelError

ControlNetwork = ControlNetModel | ControlNetUnionModel | T2IAdapter
# Pictures without colour, which networks of one channel can see.
GREY: tuple[ControlKind, ...] = ("depth", "lineart")
# What ControlNet-Union calls our pictures. Source: its model card, "openpose, depth, hed/pidi/scribble/ted,
# canny/lineart/anime_lineart/mlsd, normal, segment", counted from 0.
UNION_MODES: Mapping[ControlKind, int] = {"depth": 1, "lineart": 3, "normal": 4, "segmentation": 5}


@dataclass(frozen=True)
class Residuals:
    """What control networks add to a UNet's features, all networks together.

    Attributes:
        down: to the features that go from the encoder to the decoder; empty: nothing.
        mid: to the features between encoder and decoder; None: nothing.
        inside: to the features within the encoder (T2I-Adapters); empty: nothing.
    """

    down: tuple[Tensor, ...] = ()
    mid: Tensor | None = None
    inside: tuple[Tensor, ...] = ()

    def __add__(self, other: "Residuals") -> "Residuals":
        mids = [mid for mid in (self.mid, other.mid) if mid is not None]
        return Residuals(
            _added(self.down, other.down),
            sum(mids[1:], mids[0]) if mids else None,
            _added(self.inside, other.inside),
        )

    def as_arguments(self, dtype: torch.dtype) -> dict[str, Any]:
        """As arguments of a UNet that computes in `dtype`."""
        arguments: dict[str, Any] = {}
        if self.mid is not None:
            arguments["down_block_additional_residuals"] = [one.to(dtype) for one in self.down]
            arguments["mid_block_additional_residual"] = self.mid.to(dtype)
        if self.inside:
            # The UNet takes them from the list.
            arguments["down_intrablock_additional_residuals"] = [one.to(dtype) for one in self.inside]
        return arguments


def _added(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if not (first and second):
        return first or second
    return tuple(a + b for a, b in zip(first, second, strict=True))


@dataclass(frozen=True)
class _Rows:
    """What a ControlNet reads beside its pictures: a branch's frames, or all frames of one branch, then all
    of the next."""

    latents: Float32[Tensor, "R C h w"]
    text: Float[Tensor, "R L D"]
    added: Mapping[str, Tensor]

    def last(self, n: int) -> "_Rows":
        return _Rows(
            self.latents[-n:], self.text[-n:], {name: rows[-n:] for name, rows in self.added.items()}
        )


@dataclass(frozen=True)
class Controls:
    """What steers a UNet: networks, and for each of them the pictures that it sees.

    Attributes:
        networks: each with the settings of its pictures, in order.
        guess_mode: as in diffusers: ControlNets say something of the conditional branch only, and little in
            the first layers.
        holder: what the networks lie in, where that is more than one of them.
    """

    networks: tuple[tuple[ControlNetwork, tuple[Control, ...]], ...] = ()
    guess_mode: bool = False
    holder: Any = field(default=None, repr=False)

    @staticmethod
    def of(held: Any, conditions: Conditions, picture_size: tuple[int, int]) -> "Controls":
        """What a pipeline holds, steering as conditions say.

        Args:
            held: `controlnet` of a pipeline; None: nothing steers.
            conditions: `controls` has a control for every network, or for every picture of one network.
            picture_size: height and width of the control pictures.

        Raises:
            ConfigError: a network cannot see what it is to be shown.
        """
        controls = conditions.controls
        networks = networks_of(held)
        is_several = len(networks) > 0 and networks[0] is not held
        nets: list[Any] = list(held.nets) if is_several else networks * (len(controls) or 1)
        if len(nets) != len(controls):
            raise ConfigError(
                f"{len(controls)} controls ({', '.join(one.kind for one in controls)}) for {len(nets)} "
                "control networks: give one control for every network, in their order"
            )
        pictures: dict[int, list[Control]] = {}
        for net, control in zip(nets, controls, strict=True):
            pictures.setdefault(id(net), []).append(control)
        of_id = {id(net): net for net in nets}
        steering = tuple((of_id[key], tuple(shown)) for key, shown in pictures.items())
        for network, shown in steering:
            _check_pictures(network, shown, picture_size)
        return Controls(steering, conditions.guess_mode, held if is_several else None)

    @property
    def kinds(self) -> tuple[ControlKind, ...]:
        """Which pictures are wanted, each once."""
        return tuple(dict.fromkeys(one.kind for _, controls in self.networks for one in controls))

    @property
    def text_readers(self) -> tuple[ControlNetModel | ControlNetUnionModel, ...]:
        """Those of the networks that read the text."""
        return tuple(network for network, _ in self.networks if not isinstance(network, T2IAdapter))

    @property
    def has_adapters(self) -> bool:
        """Whether there are T2I-Adapters among the networks."""
        return any(isinstance(network, T2IAdapter) for network, _ in self.networks)

    def residuals(
        self,
        rows: Float32[Tensor, "R C h w"],
        step: Step,
        text: Float[Tensor, "R L D"],
        images: Mapping[ControlKind, Float32[Tensor, "F 3 H W"]],
        added: Mapping[str, Tensor],
    ) -> Residuals:
        """What the networks say of some frames.

        Args:
            rows: the UNet's input: all frames of one branch, then all of the next.
            step: where in the run that is.
            text: text features of the rows.
            images: one per frame.
            added: further conditions of the rows by diffusers' names.
        """
        hook = getattr(self.holder, "_hf_hook", None)
        if hook is not None:
            # Offloading waits for the holder to be called, and nobody does that.
            hook.pre_forward(self.holder)
        total = Residuals()
        for network, controls in self.networks:
            scales = [control.scale * _is_on(control, step) for control in controls]
            if isinstance(network, T2IAdapter):
                said = _from_adapter(network, controls, scales, len(rows), images)
            else:
                said = self._from_controlnet(
                    network, controls, scales, step, _Rows(rows, text, added), images
                )
            total = total + said
        return total

    def _from_controlnet(
        self,
        network: ControlNetModel | ControlNetUnionModel,
        controls: Sequence[Control],
        scales: list[float],
        step: Step,
        rows: _Rows,
        images: Mapping[ControlKind, Float32[Tensor, "F 3 H W"]],
    ) -> Residuals:
        # Several pictures of a union share a network, which diffusers asks even when all have ended.
        if not any(scales) and len(scales) == 1:
            return Residuals()
        # Asked once: diffusers walks through all modules to tell.
        dtype, n_frames, n_rows = network.dtype, len(images[controls[0].kind]), len(rows.latents)
        # Differs: with several networks diffusers looks at the first one's `global_pool_conditions` alone.
        is_guess = self.guess_mode or bool(network.config["global_pool_conditions"])
        if is_guess:
            rows = rows.last(n_frames)
        n_branches = len(rows.latents) // n_frames
        if isinstance(network, ControlNetUnionModel):
            shown: dict[str, Any] = {
                "controlnet_cond": [images[control.kind].to(dtype) for control in controls],
                "control_type_idx": [UNION_MODES[control.kind] for control in controls],
                "control_type": _types(network, controls, rows),
                "conditioning_scale": scales,
            }
        else:
            picture = _picture(controls, images, network.config["conditioning_channels"])
            shown = {"controlnet_cond": picture.to(dtype), "conditioning_scale": scales[0]}
        # All branches see the same control pictures: they are encoded once, and what that gives is repeated.
        repeated = network.controlnet_cond_embedding.register_forward_hook(
            lambda _module, _images, encoded: encoded.repeat(n_branches, 1, 1, 1)
        )
        with repeated:
            down, mid = network(
                rows.latents.to(dtype),
                step.timestep,
                encoder_hidden_states=rows.text.to(dtype),
                guess_mode=is_guess,
                added_cond_kwargs=dict(rows.added) or None,
                return_dict=False,
                **shown,
            )
        # The unconditional branch, which comes first, hears nothing where the network has not seen it.
        return Residuals(tuple(_with_silence(one, n_rows) for one in down), _with_silence(mid, n_rows))


def networks_of(held: Any) -> list[Any]:
    """The networks that a pipeline holds as `controlnet`, each once."""
    is_several = isinstance(held, MultiControlNetModel | MultiControlNetUnionModel)
    nets = list(held.nets) if is_several else [] if held is None else [held]
    return list({id(net): net for net in nets}.values())


def load_controls(controls: Sequence[Control], load: Callable[[Control], Any]) -> Any:
    """What steers a model, for a pipeline of diffusers to hold as `controlnet`.

    Controls of one source are pictures of one network.

    Args:
        controls: at least one.
        load: the network of a control; asked once for each source.
    """
    loaded: dict[str | None, Any] = {}
    for control in controls:
        if control.source not in loaded:
            loaded[control.source] = load(control)
    if len(loaded) == 1:
        return loaded[controls[0].source]
    return MultiControlNetModel([loaded[control.source] for control in controls])


def check_fits(model: str, network: Any, unet: Any) -> None:
    """Raises ModelError where a control network was not made for UNets like this one."""
    of_unet = _plain(unet.config)
    if isinstance(network, T2IAdapter):
        is_xl = network.config["adapter_type"] == "full_adapter_xl"
        widths = list(network.config["channels"])
        if network.config["adapter_type"] == "light_adapter":
            widths.append(widths[-1])
        expected = of_unet["block_out_channels"] + of_unet["block_out_channels"][-1:] * is_xl
        facts = {"channels": (widths, expected), "downscale_factor": (network.downscale_factor, 8 << is_xl)}
    else:
        of_network = _plain(network.config)
        names = ["in_channels", "cross_attention_dim", "block_out_channels", "layers_per_block"]
        names += ["addition_embed_type", "projection_class_embeddings_input_dim"]
        facts = {name: (of_network.get(name), of_unet.get(name)) for name in names}
    for name, (found, expected) in facts.items():
        if found != expected:
            raise ModelError(
                f"model {model}: {_name(network)} has {name} {found}, expected {expected} as its UNet has: "
                "choose one that was made for this model"
            )


def _plain(config: Any) -> dict[str, Any]:
    """Settings that may be compared: files have lists where programs have tuples."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in config.items()}


def _is_on(control: Control, step: Step) -> bool:
    """Source: diffusers' `control_guidance_start` and `control_guidance_end`."""
    begins, ends = step.index / step.n_steps, (step.index + 1) / step.n_steps
    return begins >= control.start and ends <= control.end


def _from_adapter(
    network: T2IAdapter,
    controls: Sequence[Control],
    scales: Sequence[float],
    n_rows: int,
    images: Mapping[ControlKind, Float32[Tensor, "F 3 H W"]],
) -> Residuals:
    """A T2I-Adapter knows neither noise nor text: it says the same of all branches."""
    if not any(scales):
        return Residuals()
    picture = _picture(controls, images, network.config["in_channels"])
    n_branches = n_rows // len(picture)
    features = network(picture.to(network.dtype))
    return Residuals(inside=tuple((one * scales[0]).repeat(n_branches, 1, 1, 1) for one in features))


def _types(network: ControlNetUnionModel, controls: Sequence[Control], rows: _Rows) -> Float[Tensor, "R T"]:
    """1 for every kind of picture that a union sees."""
    types = torch.zeros(len(rows.text), network.config["num_control_type"]).to(rows.text)
    types[:, [UNION_MODES[control.kind] for control in controls]] = 1
    return types


def _with_silence(said: Float[Tensor, "r C h w"], n_rows: int) -> Float[Tensor, "R C h w"]:
    return torch.cat([said.new_zeros(n_rows - len(said), *said.shape[1:]), said])


def _picture(
    controls: Sequence[Control], images: Mapping[ControlKind, Float32[Tensor, "F 3 H W"]], n_channels: int
) -> Float32[Tensor, "F N H W"]:
    """The pictures of a network one behind the other, as many channels as it has."""
    kinds: list[ControlKind] = [control.kind for control in controls]
    widths = _channels(kinds, n_channels)
    assert widths is not None
    return torch.cat([images[kind][:, :width] for kind, width in zip(kinds, widths, strict=True)], dim=1)


def _channels(kinds: Sequence[ControlKind], n_channels: int) -> list[int] | None:
    """How many channels of each picture a network takes; None: it has not as many.

    Pictures have three, and grey ones may stand with one.
    """
    for widths in ([3] * len(kinds), [1 if kind in GREY else 3 for kind in kinds]):
        if sum(widths) == n_channels:
            return widths
    return None


def _check_pictures(network: Any, controls: tuple[Control, ...], picture_size: tuple[int, int]) -> None:
    """Raises ConfigError where a network cannot see what it is to be shown."""
    name = _name(network)
    kinds: list[ControlKind] = [control.kind for control in controls]
    height, width = picture_size
    for control in controls:
        if not 0 <= control.start < control.end <= 1:
            raise ConfigError(
                f"the {control.kind} control starts at {control.start:g} and ends at {control.end:g}, "
                "expected 0 <= start < end <= 1"
            )
    if len(set(kinds)) < len(kinds):
        raise ConfigError(f"{name} is shown {', '.join(kinds)}: expected each kind of picture once")
    if isinstance(network, ControlNetUnionModel):
        lacking = [kind for kind in kinds if UNION_MODES[kind] >= network.config["num_control_type"]]
        if lacking:
            raise ConfigError(
                f"{name} knows {network.config['num_control_type']} kinds of pictures and not {lacking[0]}: "
                "choose another kind, or a network that was trained on it"
            )
        return
    if not isinstance(network, ControlNetModel | T2IAdapter):
        raise ConfigError(
            f"{name} cannot steer, expected a ControlNetModel, a ControlNetUnionModel or a T2IAdapter"
        )
    is_adapter = isinstance(network, T2IAdapter)
    n_channels = network.config["in_channels"] if is_adapter else network.config["conditioning_channels"]
    if _channels(kinds, n_channels) is None:
        one_channel = f"; only {' and '.join(GREY)} can be shown as one channel" if n_channels < 3 else ""
        raise ConfigError(
            f"{name} sees pictures of {n_channels} channels, and {', '.join(kinds)} cannot be shown as "
            f"these: give it pictures of 3 channels each, or other ones{one_channel}"
        )
    if not is_adapter and n_channels > 3 and network.config["controlnet_conditioning_channel_order"] != "rgb":
        raise ConfigError(
            f"{name} sees several pictures in the order bgr, which cannot be told apart, expected rgb: "
            "choose another one"
        )
    if len({replace(control, kind="depth", source=None) for control in controls}) > 1:
        raise ConfigError(
            f"{name} sees {', '.join(kinds)} as one picture: give them one scale, start and end"
        )
    if is_adapter and (height % network.downscale_factor or width % network.downscale_factor):
        raise ConfigError(
            f"{name} sees pictures whose sides are multiples of {network.downscale_factor}, these are "
            f"{width}x{height}: choose another size"
        )


def _name(network: Any) -> str:
    where = getattr(network, "config", {}).get("_name_or_path")
    return f"control network {where or type(network).__name__}"
