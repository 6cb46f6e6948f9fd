"""The pages inside the Airflow UI: what came in tonight, what became of it, and why."""
