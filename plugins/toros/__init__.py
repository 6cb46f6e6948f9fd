"""TOROS on Airflow: from raw FITS frames to alerts, in atomic, recorded steps."""

__version__ = "0.1.0"
