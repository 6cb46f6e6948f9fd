"""The profile of a simulated camera, as an observatory would write it for its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from toros.sim.camera import ADU_MAX

if TYPE_CHECKING:
    from pathlib import Path

    from toros.sim.camera import SimulatedCamera


def write_profile(camera: SimulatedCamera, folder: Path) -> Path:
    """Write the camera profile for frames of this size into a folder of profiles; return the file.

    The shipped profiles know the full-size cameras only. This one is for frames of its own size.
    """
    ny, nx = camera.shape
    lines = [
        f'name = "Simulated {camera.name} {nx} x {ny}"',
        f'model = "{camera.instrument}"',
        "by_size = true",
        f"match = [{{ INSTRUME = '^{re.escape(camera.instrument)}$' }}]",
        f"pixels = [{nx}, {ny}]",
        f"pixel_size = {camera.pixel_size}",
        f"gain = {camera.gain}",
        f"read_noise = {camera.read_noise}",
        f"saturation = {ADU_MAX}",
    ]
    if camera.raw_shape != camera.shape:
        up, across = camera.amplifiers
        lines += [
            "",
            "[readout]",
            f"amplifiers = [{across}, {up}]",
            f"active = [{nx // across}, {ny // up}]",
            f"overscan = {camera.overscan}",
            f"gap = {camera.gap}",
        ]
    path = folder / "cameras" / f"simulated-{camera.name}-{nx}x{ny}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
