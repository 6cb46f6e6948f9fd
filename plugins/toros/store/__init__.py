"""Product files: staging, atomic publication, layout; and FITS files as they come and as we write them."""
