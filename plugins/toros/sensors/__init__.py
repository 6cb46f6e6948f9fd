"""Sensors: conditions on the stream that a DAG waits for."""
