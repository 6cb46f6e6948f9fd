"""The steps of the pipeline: one module each, and the engine that makes them atomic."""
