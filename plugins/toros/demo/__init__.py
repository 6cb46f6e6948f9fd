"""A simulated night through the real Airflow, for those who want to see it before they point it at a camera."""
