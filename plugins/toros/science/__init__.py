"""The image processing: pure functions on arrays. No disk, no database, no network, no clock."""
