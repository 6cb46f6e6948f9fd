"""First light: the tables of the stream."""

import sqlalchemy as sa
from alembic import op

from toros.models.base import UTCDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alertrule",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("severity", sa.String(length=20), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alertrule")),
        sa.UniqueConstraint("name", name=op.f("uq_alertrule_name")),
    )
    op.create_table(
        "ccd",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("brand", sa.String(length=100), nullable=False),
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("xpixsize", sa.Integer(), nullable=False),
        sa.Column("ypixsize", sa.Integer(), nullable=False),
        sa.Column("gain", sa.Double(), nullable=True),
        sa.Column("read_noise", sa.Double(), nullable=True),
        sa.Column("saturation", sa.Double(), nullable=True),
        sa.Column("pixel_size", sa.Double(), nullable=True),
        sa.Column("pixel_scale", sa.Double(), nullable=True),
        sa.Column("profile", sa.String(length=100), nullable=False),
        sa.CheckConstraint("gain > 0", name=op.f("ck_ccd_gain_is_positive")),
        sa.CheckConstraint("read_noise >= 0", name=op.f("ck_ccd_read_noise_is_not_negative")),
        sa.CheckConstraint("xpixsize > 0 AND ypixsize > 0", name=op.f("ck_ccd_size_is_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ccd")),
        sa.UniqueConstraint("name", name=op.f("uq_ccd_name")),
    )
    op.create_table(
        "observatory",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("latitude", sa.Double(), nullable=False),
        sa.Column("longitude", sa.Double(), nullable=False),
        sa.Column("elevation", sa.Double(), nullable=True),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "latitude >= -90 AND latitude <= 90", name=op.f("ck_observatory_latitude_in_range")
        ),
        sa.CheckConstraint(
            "longitude >= -180 AND longitude <= 360", name=op.f("ck_observatory_longitude_in_range")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_observatory")),
        sa.UniqueConstraint("name", name=op.f("uq_observatory_name")),
    )
    op.create_table(
        "software",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_software")),
        sa.UniqueConstraint("digest", name=op.f("uq_software_digest")),
    )
    op.create_table(
        "state",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("folder", sa.Text(), nullable=True),
        sa.Column("order", sa.Integer(), nullable=False),
        sa.Column("is_error", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_state")),
        sa.UniqueConstraint("name", name=op.f("uq_state_name")),
    )
    op.create_table(
        "alert",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("alertrule_id", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("created_at", UTCDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["alertrule_id"], ["alertrule.id"], name=op.f("fk_alert_alertrule_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
        sa.UniqueConstraint("alertrule_id", "subject", name=op.f("uq_alert_alertrule_id_subject")),
    )
    op.create_table(
        "campaign",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("observatory_id", sa.Integer(), nullable=False),
        sa.Column("ccd_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["ccd_id"], ["ccd.id"], name=op.f("fk_campaign_ccd_id")),
        sa.ForeignKeyConstraint(
            ["observatory_id"], ["observatory.id"], name=op.f("fk_campaign_observatory_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign")),
        sa.UniqueConstraint("name", name=op.f("uq_campaign_name")),
    )
    op.create_index(op.f("ix_campaign_ccd_id"), "campaign", ["ccd_id"], unique=False)
    op.create_index(op.f("ix_campaign_observatory_id"), "campaign", ["observatory_id"], unique=False)
    op.create_table(
        "item",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("state_id", sa.Integer(), nullable=False),
        sa.Column("state_count", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(timezone=True), nullable=False),
        sa.Column("modified_at", UTCDateTime(timezone=True), nullable=False),
        sa.Column("claimed_by_id", sa.Integer(), nullable=True),
        sa.Column("claimed_until", UTCDateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(claimed_by_id IS NULL) = (claimed_until IS NULL)", name=op.f("ck_item_claim_is_whole")
        ),
        sa.ForeignKeyConstraint(
            ["claimed_by_id"], ["steprun.id"], name="fk_item_claimed_by_id", use_alter=True
        ),
        sa.ForeignKeyConstraint(["state_id"], ["state.id"], name=op.f("fk_item_state_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_item")),
    )
    op.create_index(op.f("ix_item_claimed_by_id"), "item", ["claimed_by_id"], unique=False)
    op.create_index("ix_item_kind_state_id", "item", ["kind", "state_id"], unique=False)
    op.create_table(
        "arrival",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("exposure_id", sa.Integer(), nullable=True),
        sa.CheckConstraint("size >= 0", name=op.f("ck_arrival_size_is_not_negative")),
        sa.ForeignKeyConstraint(["exposure_id"], ["item.id"], name=op.f("fk_arrival_exposure_id")),
        sa.ForeignKeyConstraint(["id"], ["item.id"], name=op.f("fk_arrival_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_arrival")),
        sa.UniqueConstraint("path", "size", "mtime_ns", name=op.f("uq_arrival_path_size_mtime_ns")),
    )
    op.create_index(op.f("ix_arrival_mtime_ns"), "arrival", ["mtime_ns"], unique=False)
    op.create_table(
        "calfile",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("level", sa.Double(), nullable=True),
        sa.Column("noise", sa.Double(), nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        sa.Column("night", sa.Date(), nullable=False),
        sa.Column("jd", sa.Double(), nullable=False),
        sa.Column("observation_date", UTCDateTime(timezone=True), nullable=False),
        sa.Column("exptime", sa.Double(), nullable=False),
        sa.Column("imagetype", sa.String(length=32), nullable=False),
        sa.Column("filter", sa.String(length=32), nullable=True),
        sa.Column("object_", sa.String(length=80), nullable=True),
        sa.Column("observer", sa.String(length=80), nullable=True),
        sa.Column("dialect", sa.String(length=40), nullable=False),
        sa.Column("simple", sa.String(length=8), nullable=True),
        sa.Column("bitpix", sa.Integer(), nullable=False),
        sa.Column("naxis", sa.Integer(), nullable=False),
        sa.Column("naxis1", sa.Integer(), nullable=False),
        sa.Column("naxis2", sa.Integer(), nullable=False),
        sa.Column("bscale", sa.Double(), nullable=True),
        sa.Column("bzero", sa.Double(), nullable=True),
        sa.Column("xbinning", sa.Integer(), nullable=False),
        sa.Column("ybinning", sa.Integer(), nullable=False),
        sa.Column("ccdtemp", sa.Double(), nullable=True),
        sa.Column("set_temp", sa.Double(), nullable=True),
        sa.Column("xpixsz", sa.Double(), nullable=True),
        sa.Column("ypixsz", sa.Double(), nullable=True),
        sa.Column("focal_length_mm", sa.Double(), nullable=True),
        sa.Column("readoutm", sa.String(length=40), nullable=True),
        sa.Column("gain_setting", sa.Double(), nullable=True),
        sa.Column("offset_setting", sa.Double(), nullable=True),
        sa.Column("egain", sa.Double(), nullable=True),
        sa.Column("bayer", sa.String(length=8), nullable=True),
        sa.Column("ra", sa.Double(), nullable=True),
        sa.Column("dec", sa.Double(), nullable=True),
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "imagetype IN ('Bias', 'Dark', 'Flat')", name=op.f("ck_calfile_imagetype_belongs_here")
        ),
        sa.CheckConstraint("exptime >= 0", name=op.f("ck_calfile_exptime_is_not_negative")),
        sa.CheckConstraint("naxis1 > 0 AND naxis2 > 0", name=op.f("ck_calfile_image_is_not_empty")),
        sa.CheckConstraint("xbinning > 0 AND ybinning > 0", name=op.f("ck_calfile_binning_is_positive")),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("fk_calfile_campaign_id")),
        sa.ForeignKeyConstraint(["id"], ["item.id"], name=op.f("fk_calfile_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calfile")),
        sa.UniqueConstraint("checksum", name=op.f("uq_calfile_checksum")),
    )
    op.create_index(op.f("ix_calfile_campaign_id"), "calfile", ["campaign_id"], unique=False)
    op.create_index(op.f("ix_calfile_night"), "calfile", ["night"], unique=False)
    op.create_table(
        "delivery",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("alert_id", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(length=40), nullable=False),
        sa.Column("recipient", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try", UTCDateTime(timezone=True), nullable=False),
        sa.Column("sent_at", UTCDateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('waiting', 'sent', 'given_up')", name=op.f("ck_delivery_status_is_known")
        ),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name=op.f("fk_delivery_alert_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint(
            "alert_id", "channel", "recipient", name=op.f("uq_delivery_alert_id_channel_recipient")
        ),
    )
    op.create_index("ix_delivery_status_next_try", "delivery", ["status", "next_try"], unique=False)
    op.create_table(
        "field",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("radius", sa.Double(), nullable=False),
        sa.Column("ra", sa.Double(), nullable=False),
        sa.Column("dec", sa.Double(), nullable=False),
        sa.Column("healpix", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("dec >= -90 AND dec <= 90", name=op.f("ck_field_dec_in_range")),
        sa.CheckConstraint("ra >= 0 AND ra < 360", name=op.f("ck_field_ra_in_range")),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("fk_field_campaign_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_field")),
        sa.UniqueConstraint("campaign_id", "name", name=op.f("uq_field_campaign_id_name")),
    )
    op.create_index(op.f("ix_field_healpix"), "field", ["healpix"], unique=False)
    op.create_table(
        "mastercal",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("imagetype", sa.String(length=40), nullable=False),
        sa.Column("set_key", sa.String(length=255), nullable=False),
        sa.Column("night", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("ccd_id", sa.Integer(), nullable=False),
        sa.Column("xbinning", sa.Integer(), nullable=False),
        sa.Column("ybinning", sa.Integer(), nullable=False),
        sa.Column("naxis1", sa.Integer(), nullable=False),
        sa.Column("naxis2", sa.Integer(), nullable=False),
        sa.Column("gain_setting", sa.Double(), nullable=True),
        sa.Column("offset_setting", sa.Double(), nullable=True),
        sa.Column("readoutm", sa.String(length=40), nullable=True),
        sa.Column("set_temp", sa.Double(), nullable=True),
        sa.Column("exptime", sa.Double(), nullable=True),
        sa.Column("filter", sa.String(length=32), nullable=True),
        sa.Column("has_bias", sa.Boolean(), nullable=True),
        sa.CheckConstraint("imagetype IN ('Bias', 'Dark', 'Flat')", name=op.f("ck_mastercal_is_calibration")),
        sa.CheckConstraint("version > 0", name=op.f("ck_mastercal_version_is_positive")),
        sa.ForeignKeyConstraint(["ccd_id"], ["ccd.id"], name=op.f("fk_mastercal_ccd_id")),
        sa.ForeignKeyConstraint(["id"], ["item.id"], name=op.f("fk_mastercal_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mastercal")),
        sa.UniqueConstraint("set_key", "night", "version", name=op.f("uq_mastercal_set_key_night_version")),
    )
    op.create_index("ix_mastercal_ccd_id_imagetype", "mastercal", ["ccd_id", "imagetype"], unique=False)
    op.create_table(
        "steprun",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(length=60), nullable=False),
        sa.Column("step_version", sa.String(length=40), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("parameters_hash", sa.String(length=64), nullable=False),
        sa.Column("software_id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("dag_id", sa.String(length=250), nullable=True),
        sa.Column("run_id", sa.String(length=250), nullable=True),
        sa.Column("task_id", sa.String(length=250), nullable=True),
        sa.Column("map_index", sa.Integer(), nullable=True),
        sa.Column("try_number", sa.Integer(), nullable=True),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("boot", sa.String(length=120), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("pid_started", sa.Double(), nullable=False),
        sa.Column("started_at", UTCDateTime(timezone=True), nullable=False),
        sa.Column("ended_at", UTCDateTime(timezone=True), nullable=True),
        sa.Column("cpu_seconds", sa.Double(), nullable=True),
        sa.Column("peak_memory", sa.BigInteger(), nullable=True),
        sa.Column("remark", sa.Text(), nullable=True),
        sa.Column("error_code", sa.String(length=60), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(status = 'running') = (ended_at IS NULL)", name=op.f("ck_steprun_ended_unless_running")
        ),
        sa.CheckConstraint(
            "status != 'failed' OR error_code IS NOT NULL", name=op.f("ck_steprun_failure_has_a_code")
        ),
        sa.CheckConstraint(
            "status IN ('running', 'succeeded', 'failed', 'skipped', 'abandoned')",
            name=op.f("ck_steprun_status_is_known"),
        ),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_steprun_item_id")),
        sa.ForeignKeyConstraint(["software_id"], ["software.id"], name=op.f("fk_steprun_software_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_steprun")),
    )
    op.create_index("ix_steprun_dag_id_run_id", "steprun", ["dag_id", "run_id"], unique=False)
    op.create_index("ix_steprun_item_id_step", "steprun", ["item_id", "step"], unique=False)
    op.create_index("ix_steprun_status", "steprun", ["status"], unique=False)
    op.create_table(
        "candidate",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("field_id", sa.Integer(), nullable=False),
        sa.Column("kind_of_object", sa.String(length=20), nullable=False),
        sa.Column("counterpart", sa.String(length=80), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("predicted", sa.String(length=8), nullable=True),
        sa.Column("ra", sa.Double(), nullable=False),
        sa.Column("dec", sa.Double(), nullable=False),
        sa.Column("healpix", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("dec >= -90 AND dec <= 90", name=op.f("ck_candidate_dec_in_range")),
        sa.CheckConstraint("ra >= 0 AND ra < 360", name=op.f("ck_candidate_ra_in_range")),
        sa.ForeignKeyConstraint(["field_id"], ["field.id"], name=op.f("fk_candidate_field_id")),
        sa.ForeignKeyConstraint(["id"], ["item.id"], name=op.f("fk_candidate_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_candidate")),
    )
    op.create_index(op.f("ix_candidate_field_id"), "candidate", ["field_id"], unique=False)
    op.create_index(op.f("ix_candidate_healpix"), "candidate", ["healpix"], unique=False)
    op.create_table(
        "combination",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("calfile_id", sa.Integer(), nullable=False),
        sa.Column("mastercal_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["calfile_id"], ["calfile.id"], name=op.f("fk_combination_calfile_id")),
        sa.ForeignKeyConstraint(["mastercal_id"], ["mastercal.id"], name=op.f("fk_combination_mastercal_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_combination")),
        sa.UniqueConstraint(
            "mastercal_id", "calfile_id", name=op.f("uq_combination_mastercal_id_calfile_id")
        ),
    )
    op.create_index(op.f("ix_combination_calfile_id"), "combination", ["calfile_id"], unique=False)
    op.create_table(
        "pawprint",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("field_id", sa.Integer(), nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        sa.Column("night", sa.Date(), nullable=False),
        sa.Column("jd", sa.Double(), nullable=False),
        sa.Column("observation_date", UTCDateTime(timezone=True), nullable=False),
        sa.Column("exptime", sa.Double(), nullable=False),
        sa.Column("imagetype", sa.String(length=32), nullable=False),
        sa.Column("filter", sa.String(length=32), nullable=True),
        sa.Column("object_", sa.String(length=80), nullable=True),
        sa.Column("observer", sa.String(length=80), nullable=True),
        sa.Column("dialect", sa.String(length=40), nullable=False),
        sa.Column("simple", sa.String(length=8), nullable=True),
        sa.Column("bitpix", sa.Integer(), nullable=False),
        sa.Column("naxis", sa.Integer(), nullable=False),
        sa.Column("naxis1", sa.Integer(), nullable=False),
        sa.Column("naxis2", sa.Integer(), nullable=False),
        sa.Column("bscale", sa.Double(), nullable=True),
        sa.Column("bzero", sa.Double(), nullable=True),
        sa.Column("xbinning", sa.Integer(), nullable=False),
        sa.Column("ybinning", sa.Integer(), nullable=False),
        sa.Column("ccdtemp", sa.Double(), nullable=True),
        sa.Column("set_temp", sa.Double(), nullable=True),
        sa.Column("xpixsz", sa.Double(), nullable=True),
        sa.Column("ypixsz", sa.Double(), nullable=True),
        sa.Column("focal_length_mm", sa.Double(), nullable=True),
        sa.Column("readoutm", sa.String(length=40), nullable=True),
        sa.Column("gain_setting", sa.Double(), nullable=True),
        sa.Column("offset_setting", sa.Double(), nullable=True),
        sa.Column("egain", sa.Double(), nullable=True),
        sa.Column("bayer", sa.String(length=8), nullable=True),
        sa.Column("ra", sa.Double(), nullable=True),
        sa.Column("dec", sa.Double(), nullable=True),
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.CheckConstraint("imagetype IN ('Science')", name=op.f("ck_pawprint_imagetype_belongs_here")),
        sa.CheckConstraint("exptime >= 0", name=op.f("ck_pawprint_exptime_is_not_negative")),
        sa.CheckConstraint("naxis1 > 0 AND naxis2 > 0", name=op.f("ck_pawprint_image_is_not_empty")),
        sa.CheckConstraint("xbinning > 0 AND ybinning > 0", name=op.f("ck_pawprint_binning_is_positive")),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("fk_pawprint_campaign_id")),
        sa.ForeignKeyConstraint(["field_id"], ["field.id"], name=op.f("fk_pawprint_field_id")),
        sa.ForeignKeyConstraint(["id"], ["item.id"], name=op.f("fk_pawprint_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pawprint")),
        sa.UniqueConstraint("checksum", name=op.f("uq_pawprint_checksum")),
    )
    op.create_index(op.f("ix_pawprint_campaign_id"), "pawprint", ["campaign_id"], unique=False)
    op.create_index(op.f("ix_pawprint_field_id"), "pawprint", ["field_id"], unique=False)
    op.create_index(op.f("ix_pawprint_night"), "pawprint", ["night"], unique=False)
    op.create_table(
        "product",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        sa.Column("steprun_id", sa.Integer(), nullable=False),
        sa.Column("caveats", sa.JSON(), nullable=False),
        sa.Column("created_at", UTCDateTime(timezone=True), nullable=False),
        sa.CheckConstraint("size >= 0", name=op.f("ck_product_size_is_not_negative")),
        sa.CheckConstraint("version > 0", name=op.f("ck_product_version_is_positive")),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_product_item_id")),
        sa.ForeignKeyConstraint(["steprun_id"], ["steprun.id"], name=op.f("fk_product_steprun_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_product")),
        sa.UniqueConstraint("item_id", "kind", "version", name=op.f("uq_product_item_id_kind_version")),
        sa.UniqueConstraint("path", name=op.f("uq_product_path")),
    )
    op.create_index(
        "ix_product_raw_checksum",
        "product",
        ["checksum"],
        unique=True,
        sqlite_where=sa.text("kind = 'raw'"),
        postgresql_where=sa.text("kind = 'raw'"),
    )
    op.create_index(op.f("ix_product_steprun_id"), "product", ["steprun_id"], unique=False)
    op.create_table(
        "qualitymeasure",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("steprun_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("unit", sa.String(length=40), nullable=False),
        sa.Column("colour", sa.String(length=10), nullable=True),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_qualitymeasure_item_id")),
        sa.ForeignKeyConstraint(["steprun_id"], ["steprun.id"], name=op.f("fk_qualitymeasure_steprun_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_qualitymeasure")),
        sa.UniqueConstraint(
            "steprun_id", "item_id", "name", name=op.f("uq_qualitymeasure_steprun_id_item_id_name")
        ),
    )
    op.create_index(op.f("ix_qualitymeasure_item_id"), "qualitymeasure", ["item_id"], unique=False)
    op.create_table(
        "rejection",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("arrival_id", sa.Integer(), nullable=False),
        sa.Column("steprun_id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=60), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("advice", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["arrival_id"], ["arrival.id"], name=op.f("fk_rejection_arrival_id")),
        sa.ForeignKeyConstraint(["steprun_id"], ["steprun.id"], name=op.f("fk_rejection_steprun_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejection")),
        sa.UniqueConstraint("arrival_id", name=op.f("uq_rejection_arrival_id")),
    )
    op.create_index(op.f("ix_rejection_code"), "rejection", ["code"], unique=False)
    op.create_table(
        "stack",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("field_id", sa.Integer(), nullable=False),
        sa.Column("set_key", sa.String(length=255), nullable=False),
        sa.Column("filter", sa.String(length=32), nullable=True),
        sa.Column("night", sa.Date(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("zero_point", sa.Double(), nullable=True),
        sa.Column("fwhm", sa.Double(), nullable=True),
        sa.Column("limiting_magnitude", sa.Double(), nullable=True),
        sa.Column("ra", sa.Double(), nullable=False),
        sa.Column("dec", sa.Double(), nullable=False),
        sa.Column("healpix", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("dec >= -90 AND dec <= 90", name=op.f("ck_stack_dec_in_range")),
        sa.CheckConstraint("ra >= 0 AND ra < 360", name=op.f("ck_stack_ra_in_range")),
        sa.CheckConstraint("version > 0", name=op.f("ck_stack_version_is_positive")),
        sa.ForeignKeyConstraint(["field_id"], ["field.id"], name=op.f("fk_stack_field_id")),
        sa.ForeignKeyConstraint(["id"], ["item.id"], name=op.f("fk_stack_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stack")),
        sa.UniqueConstraint("set_key", "version", name=op.f("uq_stack_set_key_version")),
    )
    op.create_index(op.f("ix_stack_field_id"), "stack", ["field_id"], unique=False)
    op.create_index(op.f("ix_stack_healpix"), "stack", ["healpix"], unique=False)
    op.create_table(
        "statechange",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("old_state_id", sa.Integer(), nullable=True),
        sa.Column("nw_state_id", sa.Integer(), nullable=False),
        sa.Column("steprun_id", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(count = 1) = (old_state_id IS NULL)",
            name=op.f("ck_statechange_only_the_first_comes_from_nowhere"),
        ),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_statechange_item_id")),
        sa.ForeignKeyConstraint(["nw_state_id"], ["state.id"], name=op.f("fk_statechange_nw_state_id")),
        sa.ForeignKeyConstraint(["old_state_id"], ["state.id"], name=op.f("fk_statechange_old_state_id")),
        sa.ForeignKeyConstraint(["steprun_id"], ["steprun.id"], name=op.f("fk_statechange_steprun_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statechange")),
        sa.UniqueConstraint("item_id", "count", name=op.f("uq_statechange_item_id_count")),
    )
    op.create_index(op.f("ix_statechange_steprun_id"), "statechange", ["steprun_id"], unique=False)
    op.create_table(
        "astrometry",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pawprint_id", sa.Integer(), nullable=False),
        sa.Column("steprun_id", sa.Integer(), nullable=False),
        sa.Column("pixel_scale", sa.Double(), nullable=False),
        sa.Column("rotation", sa.Double(), nullable=False),
        sa.Column("mirrored", sa.Boolean(), nullable=False),
        sa.Column("rms", sa.Double(), nullable=False),
        sa.Column("n_stars", sa.Integer(), nullable=False),
        sa.Column("offset", sa.Double(), nullable=True),
        sa.Column("sip_order", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(length=20), nullable=False),
        sa.Column("catalogue", sa.String(length=60), nullable=False),
        sa.Column("ra", sa.Double(), nullable=False),
        sa.Column("dec", sa.Double(), nullable=False),
        sa.Column("healpix", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("dec >= -90 AND dec <= 90", name=op.f("ck_astrometry_dec_in_range")),
        sa.CheckConstraint("ra >= 0 AND ra < 360", name=op.f("ck_astrometry_ra_in_range")),
        sa.ForeignKeyConstraint(["pawprint_id"], ["pawprint.id"], name=op.f("fk_astrometry_pawprint_id")),
        sa.ForeignKeyConstraint(["steprun_id"], ["steprun.id"], name=op.f("fk_astrometry_steprun_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_astrometry")),
        sa.UniqueConstraint("steprun_id", name=op.f("uq_astrometry_steprun_id")),
    )
    op.create_index(op.f("ix_astrometry_healpix"), "astrometry", ["healpix"], unique=False)
    op.create_index(op.f("ix_astrometry_pawprint_id"), "astrometry", ["pawprint_id"], unique=False)
    op.create_table(
        "lineage",
        sa.Column("input_id", sa.Integer(), nullable=False),
        sa.Column("output_id", sa.Integer(), nullable=False),
        sa.CheckConstraint("input_id != output_id", name=op.f("ck_lineage_not_of_itself")),
        sa.ForeignKeyConstraint(["input_id"], ["product.id"], name=op.f("fk_lineage_input_id")),
        sa.ForeignKeyConstraint(["output_id"], ["product.id"], name=op.f("fk_lineage_output_id")),
        sa.PrimaryKeyConstraint("input_id", "output_id", name=op.f("pk_lineage")),
    )
    op.create_index(op.f("ix_lineage_output_id"), "lineage", ["output_id"], unique=False)
    op.create_table(
        "photometriczeropoint",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pawprint_id", sa.Integer(), nullable=False),
        sa.Column("steprun_id", sa.Integer(), nullable=False),
        sa.Column("band", sa.String(length=16), nullable=False),
        sa.Column("catalogue", sa.String(length=60), nullable=False),
        sa.Column("zero_point", sa.Double(), nullable=False),
        sa.Column("error", sa.Double(), nullable=False),
        sa.Column("colour_term", sa.Double(), nullable=True),
        sa.Column("scatter", sa.Double(), nullable=False),
        sa.Column("transparency", sa.Double(), nullable=True),
        sa.Column("n_stars", sa.Integer(), nullable=False),
        sa.Column("limiting_magnitude", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["pawprint_id"], ["pawprint.id"], name=op.f("fk_photometriczeropoint_pawprint_id")
        ),
        sa.ForeignKeyConstraint(
            ["steprun_id"], ["steprun.id"], name=op.f("fk_photometriczeropoint_steprun_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photometriczeropoint")),
        sa.UniqueConstraint("steprun_id", name=op.f("uq_photometriczeropoint_steprun_id")),
    )
    op.create_index(
        op.f("ix_photometriczeropoint_pawprint_id"), "photometriczeropoint", ["pawprint_id"], unique=False
    )
    op.create_table(
        "reference",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("field_id", sa.Integer(), nullable=False),
        sa.Column("filter", sa.String(length=32), nullable=True),
        sa.Column("fov", sa.Double(), nullable=False),
        sa.Column("product_id", sa.Integer(), nullable=False),
        sa.Column("stack_id", sa.Integer(), nullable=False),
        sa.Column("steprun_id", sa.Integer(), nullable=False),
        sa.Column("valid_from", UTCDateTime(timezone=True), nullable=False),
        sa.Column("valid_until", UTCDateTime(timezone=True), nullable=True),
        sa.Column("ra", sa.Double(), nullable=False),
        sa.Column("dec", sa.Double(), nullable=False),
        sa.Column("healpix", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("dec >= -90 AND dec <= 90", name=op.f("ck_reference_dec_in_range")),
        sa.CheckConstraint("ra >= 0 AND ra < 360", name=op.f("ck_reference_ra_in_range")),
        sa.ForeignKeyConstraint(["field_id"], ["field.id"], name=op.f("fk_reference_field_id")),
        sa.ForeignKeyConstraint(["product_id"], ["product.id"], name=op.f("fk_reference_product_id")),
        sa.ForeignKeyConstraint(["stack_id"], ["stack.id"], name=op.f("fk_reference_stack_id")),
        sa.ForeignKeyConstraint(["steprun_id"], ["steprun.id"], name=op.f("fk_reference_steprun_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reference")),
    )
    op.create_index(op.f("ix_reference_field_id"), "reference", ["field_id"], unique=False)
    op.create_index(op.f("ix_reference_healpix"), "reference", ["healpix"], unique=False)
    op.create_table(
        "source",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pawprint_id", sa.Integer(), nullable=False),
        sa.Column("steprun_id", sa.Integer(), nullable=False),
        sa.Column("x", sa.Double(), nullable=False),
        sa.Column("y", sa.Double(), nullable=False),
        sa.Column("flux", sa.Double(), nullable=False),
        sa.Column("flux_err", sa.Double(), nullable=False),
        sa.Column("aper_flux", sa.Double(), nullable=True),
        sa.Column("aper_flux_err", sa.Double(), nullable=True),
        sa.Column("snr", sa.Double(), nullable=False),
        sa.Column("fwhm", sa.Double(), nullable=True),
        sa.Column("ellipticity", sa.Double(), nullable=True),
        sa.Column("mag", sa.Double(), nullable=True),
        sa.Column("mag_err", sa.Double(), nullable=True),
        sa.Column("flags", sa.Integer(), nullable=False),
        sa.Column("class_source", sa.String(length=20), nullable=True),
        sa.Column("ra", sa.Double(), nullable=False),
        sa.Column("dec", sa.Double(), nullable=False),
        sa.Column("healpix", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("dec >= -90 AND dec <= 90", name=op.f("ck_source_dec_in_range")),
        sa.CheckConstraint("ra >= 0 AND ra < 360", name=op.f("ck_source_ra_in_range")),
        sa.ForeignKeyConstraint(["pawprint_id"], ["pawprint.id"], name=op.f("fk_source_pawprint_id")),
        sa.ForeignKeyConstraint(["steprun_id"], ["steprun.id"], name=op.f("fk_source_steprun_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source")),
    )
    op.create_index(op.f("ix_source_healpix"), "source", ["healpix"], unique=False)
    op.create_index(op.f("ix_source_pawprint_id"), "source", ["pawprint_id"], unique=False)
    op.create_index(op.f("ix_source_steprun_id"), "source", ["steprun_id"], unique=False)
    op.create_table(
        "stackmember",
        sa.Column("stack_id", sa.Integer(), nullable=False),
        sa.Column("pawprint_id", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=True),
        sa.Column("clipped", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["pawprint_id"], ["pawprint.id"], name=op.f("fk_stackmember_pawprint_id")),
        sa.ForeignKeyConstraint(["stack_id"], ["stack.id"], name=op.f("fk_stackmember_stack_id")),
        sa.PrimaryKeyConstraint("stack_id", "pawprint_id", name=op.f("pk_stackmember")),
    )
    op.create_index(op.f("ix_stackmember_pawprint_id"), "stackmember", ["pawprint_id"], unique=False)
    op.create_table(
        "stepinput",
        sa.Column("steprun_id", sa.Integer(), nullable=False),
        sa.Column("product_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["product_id"], ["product.id"], name=op.f("fk_stepinput_product_id")),
        sa.ForeignKeyConstraint(["steprun_id"], ["steprun.id"], name=op.f("fk_stepinput_steprun_id")),
        sa.PrimaryKeyConstraint("steprun_id", "product_id", name=op.f("pk_stepinput")),
    )
    op.create_index(op.f("ix_stepinput_product_id"), "stepinput", ["product_id"], unique=False)
    op.create_table(
        "vote",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("candidate_id", sa.Integer(), nullable=False),
        sa.Column("person", sa.String(length=100), nullable=False),
        sa.Column("choice", sa.String(length=8), nullable=False),
        sa.Column("created_at", UTCDateTime(timezone=True), nullable=False),
        sa.CheckConstraint("choice IN ('real', 'bogus', 'unsure')", name=op.f("ck_vote_choice_is_known")),
        sa.ForeignKeyConstraint(["candidate_id"], ["candidate.id"], name=op.f("fk_vote_candidate_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vote")),
        sa.UniqueConstraint("candidate_id", "person", name=op.f("uq_vote_candidate_id_person")),
    )
    op.create_table(
        "detection",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("candidate_id", sa.Integer(), nullable=False),
        sa.Column("pawprint_id", sa.Integer(), nullable=False),
        sa.Column("reference_id", sa.Integer(), nullable=False),
        sa.Column("steprun_id", sa.Integer(), nullable=False),
        sa.Column("x", sa.Double(), nullable=False),
        sa.Column("y", sa.Double(), nullable=False),
        sa.Column("forced", sa.Boolean(), nullable=False),
        sa.Column("flux", sa.Double(), nullable=False),
        sa.Column("flux_err", sa.Double(), nullable=False),
        sa.Column("snr", sa.Double(), nullable=False),
        sa.Column("mag", sa.Double(), nullable=True),
        sa.Column("mag_err", sa.Double(), nullable=True),
        sa.Column("upper_limit", sa.Double(), nullable=True),
        sa.Column("flags", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("model_version", sa.String(length=60), nullable=True),
        sa.Column("stamp", sa.Integer(), nullable=True),
        sa.Column("ra", sa.Double(), nullable=False),
        sa.Column("dec", sa.Double(), nullable=False),
        sa.Column("healpix", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("dec >= -90 AND dec <= 90", name=op.f("ck_detection_dec_in_range")),
        sa.CheckConstraint("ra >= 0 AND ra < 360", name=op.f("ck_detection_ra_in_range")),
        sa.ForeignKeyConstraint(["candidate_id"], ["candidate.id"], name=op.f("fk_detection_candidate_id")),
        sa.ForeignKeyConstraint(["pawprint_id"], ["pawprint.id"], name=op.f("fk_detection_pawprint_id")),
        sa.ForeignKeyConstraint(["reference_id"], ["reference.id"], name=op.f("fk_detection_reference_id")),
        sa.ForeignKeyConstraint(["steprun_id"], ["steprun.id"], name=op.f("fk_detection_steprun_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_detection")),
        sa.UniqueConstraint(
            "candidate_id",
            "pawprint_id",
            "reference_id",
            name=op.f("uq_detection_candidate_id_pawprint_id_reference_id"),
        ),
    )
    op.create_index(op.f("ix_detection_healpix"), "detection", ["healpix"], unique=False)
    op.create_index(op.f("ix_detection_pawprint_id"), "detection", ["pawprint_id"], unique=False)
    op.create_index(op.f("ix_detection_steprun_id"), "detection", ["steprun_id"], unique=False)
    if op.get_bind().dialect.name != "sqlite":
        # item and steprun point at each other; SQLite has the constraint from its CREATE TABLE already.
        op.create_foreign_key("fk_item_claimed_by_id", "item", "steprun", ["claimed_by_id"], ["id"])


def downgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint("fk_item_claimed_by_id", "item", type_="foreignkey")
    op.drop_index(op.f("ix_detection_steprun_id"), table_name="detection")
    op.drop_index(op.f("ix_detection_pawprint_id"), table_name="detection")
    op.drop_index(op.f("ix_detection_healpix"), table_name="detection")
    op.drop_table("detection")
    op.drop_table("vote")
    op.drop_index(op.f("ix_stepinput_product_id"), table_name="stepinput")
    op.drop_table("stepinput")
    op.drop_index(op.f("ix_stackmember_pawprint_id"), table_name="stackmember")
    op.drop_table("stackmember")
    op.drop_index(op.f("ix_source_steprun_id"), table_name="source")
    op.drop_index(op.f("ix_source_pawprint_id"), table_name="source")
    op.drop_index(op.f("ix_source_healpix"), table_name="source")
    op.drop_table("source")
    op.drop_index(op.f("ix_reference_healpix"), table_name="reference")
    op.drop_index(op.f("ix_reference_field_id"), table_name="reference")
    op.drop_table("reference")
    op.drop_index(op.f("ix_photometriczeropoint_pawprint_id"), table_name="photometriczeropoint")
    op.drop_table("photometriczeropoint")
    op.drop_index(op.f("ix_lineage_output_id"), table_name="lineage")
    op.drop_table("lineage")
    op.drop_index(op.f("ix_astrometry_pawprint_id"), table_name="astrometry")
    op.drop_index(op.f("ix_astrometry_healpix"), table_name="astrometry")
    op.drop_table("astrometry")
    op.drop_index(op.f("ix_statechange_steprun_id"), table_name="statechange")
    op.drop_table("statechange")
    op.drop_index(op.f("ix_stack_healpix"), table_name="stack")
    op.drop_index(op.f("ix_stack_field_id"), table_name="stack")
    op.drop_table("stack")
    op.drop_index(op.f("ix_rejection_code"), table_name="rejection")
    op.drop_table("rejection")
    op.drop_index(op.f("ix_qualitymeasure_item_id"), table_name="qualitymeasure")
    op.drop_table("qualitymeasure")
    op.drop_index(op.f("ix_product_steprun_id"), table_name="product")
    op.drop_index(
        "ix_product_raw_checksum",
        table_name="product",
        sqlite_where=sa.text("kind = 'raw'"),
        postgresql_where=sa.text("kind = 'raw'"),
    )
    op.drop_table("product")
    op.drop_index(op.f("ix_pawprint_night"), table_name="pawprint")
    op.drop_index(op.f("ix_pawprint_field_id"), table_name="pawprint")
    op.drop_index(op.f("ix_pawprint_campaign_id"), table_name="pawprint")
    op.drop_table("pawprint")
    op.drop_index(op.f("ix_combination_calfile_id"), table_name="combination")
    op.drop_table("combination")
    op.drop_index(op.f("ix_candidate_healpix"), table_name="candidate")
    op.drop_index(op.f("ix_candidate_field_id"), table_name="candidate")
    op.drop_table("candidate")
    op.drop_index("ix_steprun_status", table_name="steprun")
    op.drop_index("ix_steprun_item_id_step", table_name="steprun")
    op.drop_index("ix_steprun_dag_id_run_id", table_name="steprun")
    op.drop_table("steprun")
    op.drop_index("ix_mastercal_ccd_id_imagetype", table_name="mastercal")
    op.drop_table("mastercal")
    op.drop_index(op.f("ix_field_healpix"), table_name="field")
    op.drop_table("field")
    op.drop_index("ix_delivery_status_next_try", table_name="delivery")
    op.drop_table("delivery")
    op.drop_index(op.f("ix_calfile_night"), table_name="calfile")
    op.drop_index(op.f("ix_calfile_campaign_id"), table_name="calfile")
    op.drop_table("calfile")
    op.drop_index(op.f("ix_arrival_mtime_ns"), table_name="arrival")
    op.drop_table("arrival")
    op.drop_index("ix_item_kind_state_id", table_name="item")
    op.drop_index(op.f("ix_item_claimed_by_id"), table_name="item")
    op.drop_table("item")
    op.drop_index(op.f("ix_campaign_observatory_id"), table_name="campaign")
    op.drop_index(op.f("ix_campaign_ccd_id"), table_name="campaign")
    op.drop_table("campaign")
    op.drop_table("alert")
    op.drop_table("state")
    op.drop_table("software")
    op.drop_table("observatory")
    op.drop_table("ccd")
    op.drop_table("alertrule")
