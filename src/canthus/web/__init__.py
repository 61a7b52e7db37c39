"""The page that runs in a browser, and the service that answers over HTTP (extra: web)."""
