"""`genrender finish`: what compositors take, added to a finished run."""

from genrender.cli.console import Bars, hooks
from genrender.cli.render import say_written
from genrender.errors import ConfigError
from genrender.jobs.also import KINDS, read_kinds
from genrender.jobs.finish import finish as finish_run
from genrender.jobs.upscale import Upscaler
from genrender.options.commands import Finish


def finish(options: Finish) -> None:
    """Writes what was asked for, and says where.

    Raises:
        ConfigError: nothing was asked for, or nothing that computes on a device.
    """
    kinds = read_kinds(options.also)
    if not kinds and options.upscale is None:
        raise ConfigError(f"nothing to add: give --also {','.join(KINDS)}, or --upscale MODEL")
    if options.device is not None and options.upscale is None:
        raise ConfigError("--device is where --upscale computes; leave it out without --upscale")
    upscaler = None if options.upscale is None else Upscaler.load(options.upscale, options.device)
    with Bars() as bars:
        written = finish_run(options.run_dir, kinds, upscaler, hooks(bars))
    say_written(written)
