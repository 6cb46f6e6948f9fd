"""Observatories, cameras and campaigns, as TORITOS defined them."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from toros.models import CCD, Campaign, Observatory
from toros.models.database import Database


def test_the_camera_of_toritos_is_known_from_the_start(database: Database) -> None:
    with database.read() as session:
        campaign = session.scalars(select(Campaign)).one()
        assert (campaign.observatory.latitude, campaign.observatory.longitude) == (-24.623, -67.328)
        assert (campaign.ccd.brand, campaign.ccd.model) == ("Apogee", "Alta U16")
        assert (campaign.ccd.xpixsize, campaign.ccd.ypixsize) == (4096, 4096)
        assert campaign.description == "The second run, after roof failure"


def test_an_observatory_a_camera_and_a_campaign_are_shown_by_their_names(database: Database) -> None:
    with database.read() as session:
        campaign = session.scalars(select(Campaign)).one()
        assert repr(campaign) == "2nd run toritos"
        assert repr(campaign.observatory) == "Macon ridge"
        assert repr(campaign.ccd) == "Azulcito"


def test_observatory_and_camera_know_their_campaigns_in_order(database: Database) -> None:
    with database.write() as session:
        macon = session.scalars(select(Observatory)).one()
        ccd = session.scalars(select(CCD)).one()
        session.add_all([Campaign(name=name, observatory=macon, ccd=ccd) for name in ("O1", "O2")])

    with database.read() as session:
        for owner in (session.scalars(select(Observatory)).one(), session.scalars(select(CCD)).one()):
            assert [campaign.name for campaign in owner.campaigns] == ["2nd run toritos", "O1", "O2"]
            assert owner.campaigns[1].observatory.name == "Macon ridge"


@pytest.mark.parametrize(
    "wrong",
    [
        Observatory(name="Beyond the pole", latitude=90.5, longitude=0),
        Observatory(name="Off the Earth", latitude=0, longitude=-181),
        Observatory(name="Macon ridge", latitude=0, longitude=0),
        CCD(name="No pixels", brand="", model="", xpixsize=0, ypixsize=1, profile="generic"),
        CCD(name="No gain", brand="", model="", xpixsize=1, ypixsize=1, gain=0, profile="generic"),
        CCD(name="Too quiet", brand="", model="", xpixsize=1, ypixsize=1, read_noise=-1, profile="generic"),
        Campaign(name="Nowhere", ccd_id=1),
        Campaign(name="Of an unknown camera", observatory_id=1, ccd_id=4711),
    ],
    ids=lambda row: row.name,
)
def test_a_site_or_camera_that_cannot_be_is_refused(database: Database, wrong: object) -> None:
    values = {key: value for key, value in vars(wrong).items() if not key.startswith("_")}
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(type(wrong)(**values))


def test_what_is_unknown_about_a_camera_stays_unknown(database: Database) -> None:
    with database.write() as session:
        session.add(
            CCD(name="New", brand="ZWO", model="ASI120", xpixsize=1280, ypixsize=960, profile="generic")
        )
    with database.read() as session:
        ccd = session.scalars(select(CCD).where(CCD.name == "New")).one()
        assert (ccd.gain, ccd.read_noise, ccd.saturation) == (None, None, None)
