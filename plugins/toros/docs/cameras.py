"""The page of the cameras."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from toros.cli.output import as_text
from toros.docs.docstrings import attribute_docs
from toros.docs.markdown import blocks, code, heading, link, prose, table
from toros.docs.page import Page
from toros.docs.profiles import layout, patterns_in_words, rules_in_words
from toros.instruments.camera import CameraProfile, Readout
from toros.instruments.dialect import TypeRule

PAGE = "cameras"


def cameras_page(cameras: Iterable[CameraProfile]) -> Page:
    """Write what is known of every camera."""
    cameras = list(cameras)
    return Page(
        PAGE,
        "Cameras",
        "The camera profiles, in the order in which they are asked. What is not given is unknown, and never invented.",
        blocks(
            (
                _overview(cameras),
                *(part for camera in cameras for part in _section(camera)),
                heading(2, "What a profile may say"),
                layout((CameraProfile, Readout, TypeRule)),
            )
        ),
    )


def _overview(cameras: Iterable[CameraProfile]) -> str:
    return table(
        (
            "camera",
            "brand",
            "model",
            "pixels",
            "pixel size, µm",
            "gain, e-/ADU",
            "read noise, e-",
            "saturation, ADU",
        ),
        (
            (
                link(camera.name, PAGE, camera.name),
                prose(camera.brand),
                prose(camera.model),
                _size(camera.pixels),
                *map(as_text, (camera.pixel_size, camera.gain, camera.read_noise, camera.saturation)),
            )
            for camera in cameras
        ),
    )


def _section(camera: CameraProfile) -> Iterator[str]:
    yield heading(2, camera.name)
    yield prose(camera.description)
    meanings = attribute_docs(CameraProfile)
    yield table(
        ("field", "value", "meaning"),
        ((code(name), value, prose(meanings.get(name, ""))) for name, value in _given(camera)),
    )


def _given(camera: CameraProfile) -> Iterator[tuple[str, str]]:
    """Yield the fields that the data file gives, beside those at the head of the section."""
    for name in CameraProfile.model_fields:
        if name not in camera.model_fields_set or name in ("name", "description"):
            continue
        value = getattr(camera, name)
        match name:
            case "match":
                yield name, patterns_in_words(value)
            case "pixels":
                yield name, _size(value)
            case "type_rules":
                yield name, rules_in_words(value)
            case "readout":
                yield name, _readout(value)
            case _:
                yield name, prose(as_text(value))


def _readout(readout: Readout) -> str:
    return (
        f"{_size(readout.amplifiers)} amplifiers of {_size(readout.active)} pixels, {readout.overscan} columns of "
        f"overscan behind each, {readout.gap} rows between them"
    )


def _size(pixels: tuple[int, int] | None) -> str:
    return f"{pixels[0]} x {pixels[1]}" if pixels else ""
