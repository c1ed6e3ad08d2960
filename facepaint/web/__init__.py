"""The extra `web`: an HTTP service and a page, both thin layers over the library."""
