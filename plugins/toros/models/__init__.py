"""The tables of the stream, under the names that TORITOS gave them."""

from toros.models.alerts import Alert, AlertRule, Delivery
from toros.models.base import HEALPIX_ORDER, Model, UTCDateTime, utcnow
from toros.models.calibration import Combination, MasterCal
from toros.models.exposures import CALIBRATION_TYPES, Arrival, CalFile, Exposure, Pawprint, Rejection
from toros.models.observatory import CCD, Campaign, Observatory
from toros.models.products import Lineage, Product, QualityMeasure
from toros.models.runs import RUN_STATUSES, Software, StepInput, StepRun
from toros.models.sky import (
    Astrometry,
    Candidate,
    Detection,
    Field,
    PhotometricZeroPoint,
    Reference,
    Source,
    Stack,
    StackMember,
    Vote,
)
from toros.models.stream import Item, State, StateChange

__all__ = [
    "CALIBRATION_TYPES",
    "CCD",
    "HEALPIX_ORDER",
    "RUN_STATUSES",
    "Alert",
    "AlertRule",
    "Arrival",
    "Astrometry",
    "CalFile",
    "Campaign",
    "Candidate",
    "Combination",
    "Delivery",
    "Detection",
    "Exposure",
    "Field",
    "Item",
    "Lineage",
    "MasterCal",
    "Model",
    "Observatory",
    "Pawprint",
    "PhotometricZeroPoint",
    "Product",
    "QualityMeasure",
    "Reference",
    "Rejection",
    "Software",
    "Source",
    "Stack",
    "StackMember",
    "State",
    "StateChange",
    "StepInput",
    "StepRun",
    "UTCDateTime",
    "Vote",
    "utcnow",
]
