"""Hooks: how Airflow's processes reach the science database."""
