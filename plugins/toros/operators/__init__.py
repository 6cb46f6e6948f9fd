"""Operators: thin Airflow wrappers, one for each atomic step."""
