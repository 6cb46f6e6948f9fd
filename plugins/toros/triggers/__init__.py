"""Triggers: what wakes the DAGs up. They run in Airflow's triggerer."""
