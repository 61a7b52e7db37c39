# The page and the service over HTTP. docker build -t canthus . && docker run --rm --read-only -p 127.0.0.1:8000:8000 canthus
FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 XDG_CACHE_HOME=/opt/cache
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
RUN python3 -m venv /opt/canthus \
  && /opt/canthus/bin/pip install -c constraints.txt '.[web]' \
  && /opt/canthus/bin/canthus fetch web

FROM python:3.11-slim-bookworm
COPY --from=build /opt/canthus /opt/canthus
COPY --from=build /opt/cache /opt/cache
ENV XDG_CACHE_HOME=/opt/cache PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s \
  CMD ["/opt/canthus/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=5)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/canthus/bin/canthus", "serve", "--host", "0.0.0.0"]
