"""Every error of the pipeline, in one tree. The branch an error hangs on decides its fate.

::

    TorosError
    ├── Transient               the world may be better in a minute: retried with back-off
    │   ├── DatabaseUnavailable     database_unavailable
    │   ├── StorageUnavailable      storage_unavailable (also an OSError)
    │   ├── DiskFull                disk_full           (also an OSError)
    │   ├── FileMissing             file_missing        (also a FileNotFoundError)
    │   ├── FileIncomplete          file_incomplete
    │   ├── ItemBusy                item_busy
    │   ├── Conflict                conflict
    │   └── ClaimLost               claim_lost
    ├── Unprocessable           this item cannot be processed: its error state, no retry; the others go on
    │   ├── NotFits                 not_fits
    │   ├── Truncated               truncated
    │   ├── NoImage                 no_image
    │   ├── WrongGeometry           wrong_geometry
    │   ├── BadHeader               bad_header
    │   ├── NoDate                  no_date
    │   ├── UnknownCamera           unknown_camera
    │   ├── UnknownImageType        unknown_image_type
    │   ├── Duplicate               duplicate
    │   ├── NoCalibration           no_calibration
    │   ├── TooFewFrames            too_few_frames
    │   ├── BadFlat                 bad_flat
    │   ├── NotFinite               not_finite
    │   ├── NoPointing              no_pointing
    │   ├── NoSources               no_sources
    │   ├── NoSky                   no_sky
    │   ├── WarmDark                warm_dark
    │   ├── TooFewStars             too_few_stars
    │   ├── NoPlateSolution         no_plate_solution
    │   ├── Superseded              superseded
    │   └── Vanished                vanished
    ├── NothingToDo             no work found: skipped, not failed
    │   ├── WaitingForMaster        waiting_for_master
    │   └── WaitingForReference     waiting_for_reference
    └── Misconfigured           a person must act: fails at once and says what to do
        ├── BadParameters           bad_parameters      (also a ValueError)
        ├── BadProfile              bad_profile
        ├── BadModel                bad_model
        ├── BadConnection           bad_connection
        ├── SchemaOutdated          schema_outdated
        ├── UnknownStep             unknown_step        (also a LookupError)
        ├── UnknownItem             unknown_item        (also a LookupError)
        ├── NoCatalogue             no_catalogue
        ├── CatalogueTooShallow     catalogue_too_shallow
        ├── BadCatalogue            bad_catalogue
        ├── ProgramMissing          program_missing
        └── AirflowFailed           airflow_failed

A code never changes its meaning: it is what rows, reports and alert rules name.
"""

from __future__ import annotations

from typing import ClassVar


class TorosError(Exception):
    """Root of the tree.

    Parameters
    ----------
    message : str
        What happened, with the names and numbers that matter.
    advice : str, optional
        What a person can do about it; by default the class's own advice.
    """

    code: ClassVar[str] = "error"
    default_advice: ClassVar[str] = ""

    def __init__(self, message: str = "", *, advice: str | None = None) -> None:
        message = printable(message)
        super().__init__(message)
        self.message = message
        self.advice = self.default_advice if advice is None else advice

    @property
    def explanation(self) -> str:
        """What happened and what to do about it."""
        return f"{self.message} — {self.advice}" if self.advice else self.message

    def __str__(self) -> str:
        return f"[{self.code}] {self.explanation}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.advice)


def printable(text: str) -> str:
    """Escape what no database, log or terminal should be given: control characters, and bytes of no encoding."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def _rebuild(cls: type[TorosError], message: str, advice: str) -> TorosError:
    return cls(message, advice=advice)


# --------------------------------------------------------------------------------------- the four fates


class Transient(TorosError):
    """Disk, database, network, a file that may still arrive: worth another try."""

    code = "transient"


class Unprocessable(TorosError):
    """This item cannot be processed as it is."""

    code = "unprocessable"


class NothingToDo(TorosError):
    """No work was found."""

    code = "nothing_to_do"


class Misconfigured(TorosError):
    """A person must act before any retry makes sense."""

    code = "misconfigured"


# -------------------------------------------------------------------------------------------- transient


class DatabaseUnavailable(Transient):
    """The science database does not answer, or answers that it is locked."""

    code = "database_unavailable"
    default_advice = "the task tries again by itself; look at the database server if this lasts"


class StorageUnavailable(Transient, OSError):
    """A read or a write failed below us."""

    code = "storage_unavailable"
    default_advice = "the task tries again by itself; check the disk or the network share if this lasts"


class DiskFull(Transient, OSError):
    """There is no room for a product."""

    code = "disk_full"
    default_advice = "free some space under the data root; nothing was lost, the step runs again by itself"


class FileMissing(Transient, FileNotFoundError):
    """A file that a row or an event promised is not there (yet)."""

    code = "file_missing"
    default_advice = "if the file was moved away, put it back; otherwise it is tried again by itself"


class FileIncomplete(Transient):
    """A file is still being written, or its copy was interrupted a moment ago."""

    code = "file_incomplete"
    default_advice = "it is read again when it has grown to its full size"


class ItemBusy(Transient):
    """Another live process holds this item."""

    code = "item_busy"
    default_advice = "nothing to do: it is tried again when the other process has ended"


class Conflict(Transient):
    """Two runs wanted to write the same row at the same moment; the other one was first."""

    code = "conflict"
    default_advice = "the step runs again by itself and finds what the other one wrote"


class ClaimLost(Transient):
    """The lease ran out while we worked, and somebody else took the item; our work was thrown away."""

    code = "claim_lost"
    default_advice = "raise the step's lease if this host is slow"


# ---------------------------------------------------------------------------------------- unprocessable


class NotFits(Unprocessable):
    """The file is not FITS."""

    code = "not_fits"
    default_advice = "only FITS frames belong into the watched folder; the file was left where it is"


class Truncated(Unprocessable):
    """The file ends before its header says it should."""

    code = "truncated"
    default_advice = "copy the file again from the camera computer; a whole copy is registered by itself"


class NoImage(Unprocessable):
    """A FITS file without a two-dimensional image."""

    code = "no_image"
    default_advice = "tables and spectra cannot be processed; the file was left where it is"


class WrongGeometry(Unprocessable):
    """The image does not have the size that the camera profile states."""

    code = "wrong_geometry"
    default_advice = "compare NAXIS1, NAXIS2 and the binning with the camera profile"


class BadHeader(Unprocessable):
    """A card that is needed cannot be understood."""

    code = "bad_header"
    default_advice = "correct the card, or teach the dialect in the camera profile"


class NoDate(Unprocessable):
    """No date of observation in the header."""

    code = "no_date"
    default_advice = "set DATE-OBS in the capture program, or name its keyword in the camera profile"


class UnknownCamera(Unprocessable):
    """No camera profile matches the header."""

    code = "unknown_camera"
    default_advice = "add a camera profile (toros camera add) and run `toros retry` on the file"


class UnknownImageType(Unprocessable):
    """Neither the header nor the path tells bias, dark, flat and science apart."""

    code = "unknown_image_type"
    default_advice = "set IMAGETYP in the capture program, or add a path rule to the camera profile"


class Duplicate(Unprocessable):
    """The same content is registered already."""

    code = "duplicate"
    default_advice = "nothing to do"


class NoCalibration(Unprocessable):
    """No master frame fits, and the rules forbid to go on without."""

    code = "no_calibration"
    default_advice = "take calibration frames of this camera set-up, then `toros retry` the frame"


class TooFewFrames(Unprocessable):
    """Not enough usable frames to combine."""

    code = "too_few_frames"
    default_advice = "take more calibration frames of this set"


class BadFlat(Unprocessable):
    """A flat frame without usable signal: too dark, or saturated."""

    code = "bad_flat"
    default_advice = "expose flats to about half of the full well"


class NotFinite(Unprocessable):
    """A frame holds NaN or infinite values where numbers are needed."""

    code = "not_finite"
    default_advice = "leave the frame out, or look at how it was written; raw frames never hold NaN"


class NoPointing(Unprocessable):
    """Nothing says where on the sky a frame was taken."""

    code = "no_pointing"
    default_advice = (
        "let the capture program write RA and DEC, or say it by hand: `toros solve ITEM --ra --dec`"
    )


class NoSky(Unprocessable):
    """No part of the frame shows enough unmasked sky to measure its level and noise."""

    code = "no_sky"
    default_advice = (
        "look at the frame and its mask: was it saturated by twilight, or is the bad-pixel mask wrong?"
    )


class NoSources(Unprocessable):
    """Nothing in a frame stands out of the noise."""

    code = "no_sources"
    default_advice = "look at the picture: clouds, a closed dome, or an exposure that is too short"


class WarmDark(Unprocessable):
    """A dark frame taken before the sensor had cooled down."""

    code = "warm_dark"
    default_advice = "wait for the set temperature before darks are taken"


class TooFewStars(Unprocessable):
    """Too few detections, or too few catalogue stars in the field, to be sure of a plate solution."""

    code = "too_few_stars"
    default_advice = (
        "load a deeper catalogue (toros catalogue add), or expose longer; a frame of clouds has no stars"
    )


class NoPlateSolution(Unprocessable):
    """The detections match no part of the catalogue that was searched."""

    code = "no_plate_solution"
    default_advice = (
        "check the pixel scale of the camera profile, or say where it points: toros solve --ra --dec"
    )


class Superseded(Unprocessable):
    """The file changed after it was seen; what it is now is an arrival of its own."""

    code = "superseded"
    default_advice = "nothing to do"


class Vanished(Unprocessable):
    """The file was removed from the watched folder before it was read."""

    code = "vanished"
    default_advice = "put the file back, then `toros retry` the arrival"


# ----------------------------------------------------------------------------------------- nothing to do


class WaitingForMaster(NothingToDo):
    """A frame waits for the master frames of its night."""

    code = "waiting_for_master"


class WaitingForReference(NothingToDo):
    """A frame waits for the first reference of its field."""

    code = "waiting_for_reference"


# ----------------------------------------------------------------------------------------- misconfigured


class BadParameters(Misconfigured, ValueError):
    """A step was given parameters that it does not know or cannot use."""

    code = "bad_parameters"


class BadProfile(Misconfigured):
    """A camera profile or a rules file does not say what it should."""

    code = "bad_profile"


class BadModel(Misconfigured):
    """A file is no model of a real/bogus classifier, or not of this version's features."""

    code = "bad_model"
    default_advice = "take the shipped model, or train one: `toros realbogus train`"


class BadConnection(Misconfigured):
    """The database connection is not set, or cannot be understood."""

    code = "bad_connection"
    default_advice = "set the Airflow connection toros_default, or TOROS_DATABASE_URL"


class SchemaOutdated(Misconfigured):
    """The tables of the science database are not those of this version."""

    code = "schema_outdated"
    default_advice = "run `toros migrate`"


class UnknownStep(Misconfigured, LookupError):
    """No step of that name is installed."""

    code = "unknown_step"
    default_advice = "`toros steps` lists them"


class UnknownItem(Misconfigured, LookupError):
    """No item of that id, or one of another kind than the step takes."""

    code = "unknown_item"


class NoCatalogue(Misconfigured):
    """No reference catalogue is loaded, or none has stars in this field."""

    code = "no_catalogue"
    default_advice = (
        "load one that covers the field: `toros catalogue add FILE` (`toros catalogue list` shows yours)"
    )


class CatalogueTooShallow(Misconfigured):
    """The reference catalogues have stars in this field, but too few of them."""

    code = "catalogue_too_shallow"
    default_advice = "load a deeper one: `toros catalogue add FILE`"


class BadCatalogue(Misconfigured):
    """A file cannot be read as a catalogue of stars, or its columns are not known."""

    code = "bad_catalogue"
    default_advice = "name the columns: --column ra=..., --column dec=..., --band V=..."


class ProgramMissing(Misconfigured):
    """A program that is not part of TOROS is needed and not installed."""

    code = "program_missing"


# ------------------------------------------------------------------------------------------- by code


def all_errors() -> dict[str, type[TorosError]]:
    """Return every error class by its code."""
    found: dict[str, type[TorosError]] = {}
    branch: list[type[TorosError]] = [TorosError]
    while branch:
        cls = branch.pop()
        found[cls.code] = cls
        branch.extend(cls.__subclasses__())
    return found


def error_of_code(code: str | None, text: str) -> TorosError:
    """Rebuild an error from the code and the text of a row."""
    return all_errors().get(code or "", Unprocessable)(text, advice="")


class AirflowFailed(Misconfigured):
    """A sandbox's Airflow does not start, or does not answer as it should."""

    code = "airflow_failed"
