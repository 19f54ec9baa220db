# syntax=docker/dockerfile:1
# Two stages: wheels are built and checked against their hashes in the first; the second holds no compiler and runs as nobody special.
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/tacit
WORKDIR /src
COPY requirements/server.txt requirements/server.txt
RUN /opt/tacit/bin/pip install --require-hashes -r requirements/server.txt

FROM python:3.11-slim-bookworm
RUN groupadd --system --gid 10001 tacit \
 && useradd --system --uid 10001 --gid tacit --home-dir /var/lib/tacit --create-home tacit
COPY --from=build /opt/tacit /opt/tacit
WORKDIR /opt/tacit/src
COPY pyproject.toml README.md LICENSE ./
COPY tacit tacit
COPY app app
COPY migrations migrations
ENV PATH=/opt/tacit/bin:$PATH PYTHONPATH=/opt/tacit/src PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    TACIT_FOLDER=/var/lib/tacit TACIT_HOST=0.0.0.0 TACIT_PORT=8000
USER 10001:10001
VOLUME /var/lib/tacit
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["python", "-m", "app"]
CMD ["serve"]
