"""Any Stable Diffusion 1.x model with a depth ControlNet can be driven, unchanged.

    python examples/04_bring_your_own_model.py --model sd15 --size 512
    python examples/04_bring_your_own_model.py --model weights/mine --controlnet weights/my-depth-controlnet
    python examples/04_bring_your_own_model.py --model pocket --size 128

"sd15" and hub ids are downloaded when first used; folders never touch the network. On a graphics card it
computes in half precision. What to look at: out/04/contact_sheet.png.
"""

from pathlib import Path

import tyro
from diffusers import DPMSolverMultistepScheduler  # pyright: ignore[reportPrivateImportUsage]

from genrender.config import InjectionConfig, MethodConfig
from genrender.gbuffer.preview import to_picture, uv_picture
from genrender.media.images import contact_sheet, write_png
from genrender.media.video import write_video
from genrender.pipeline import load_pipeline
from genrender.scene.load import load_scene
from genrender.shots.clip import ShotConfig, render_clip

SCENES = Path(__file__).parent / "scenes"


def main(
    model: str = "pocket",
    controlnet: str | None = None,
    prompt: str = "an orange and white fox on a green ground",
    frames: int = 8,
    size: int = 128,
    steps: int = 12,
    out: Path = Path("out/04"),
) -> None:
    # 1. The model. A folder without a ControlNet of its own needs one named.
    pipe = load_pipeline(model, controlnet=controlnet)
    n_parameters = sum(weight.numel() for weight in pipe.unet.parameters())
    print(f"{model}: a UNet of {n_parameters / 1e6:.1f} million parameters on {pipe.device}")

    # 2. It is a diffusers pipeline: everything that diffusers can do to one works here.
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, use_karras_sigmas=True)
    # pipe.load_lora_weights("folder", weight_name="style.safetensors")
    # pipe.load_ip_adapter("h94/IP-Adapter", subfolder="models", weight_name="ip-adapter_sd15.safetensors")
    # pipe.enable_model_cpu_offload()

    # 3. Sizes are multiples of the VAE factor; SD 1.5 wants 512. Fewer frames at once need less memory.
    scene = load_scene(SCENES / "trotting_quadruped.glb")
    clip = render_clip(scene, ShotConfig(size=(size, size), n_frames=frames, camera="orbit"))

    # 4. Which layers take part is a regular expression over their names. Unless told otherwise it is the
    #    decoder, "^up_blocks\."; here the lowest level between encoder and decoder takes part, too.
    method = MethodConfig(injection=InjectionConfig(layers=r"^(mid_block|up_blocks)\."))
    result = pipe(prompt, clip.gbuffers, config=method, num_inference_steps=steps, chunk_size=4)

    out.mkdir(parents=True, exist_ok=True)
    pictures = [to_picture(frame) for frame in result.frames]
    write_video(out / "video.mp4", pictures, clip.fps)
    rows = {"UV": [uv_picture(gbuffer) for gbuffer in clip.gbuffers], "result": pictures}
    write_png(out / "contact_sheet.png", contact_sheet(rows))
    print(f"{out / 'video.mp4'}\n{out / 'contact_sheet.png'}")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
