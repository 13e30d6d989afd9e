# MLflow's tracking server. Where it keeps things comes by MLFLOW_BACKEND_STORE_URI and MLFLOW_ARTIFACTS_DESTINATION,
# the database's password by PGPASSWORD, never in an argument. Pin the base: --build-arg BASE=…/python@sha256:…
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /build
ENV PYC_INVALIDATION_MODE=UNCHECKED_HASH
COPY infra/images/locks/build.lock infra/images/locks/mlflow.lock ./
# A mirror of the packages is reached by these, where the build is given them: infra/images/build.sh says how.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    python3 -m venv /tools \
    && /tools/bin/pip install --no-cache-dir --require-hashes --requirement build.lock \
    && python3 -m venv --without-pip /app/venv \
    && /tools/bin/uv pip install --python /app/venv/bin/python --no-cache --compile-bytecode \
        --require-hashes --requirement mlflow.lock

FROM ${BASE}
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ml-training-deployment mlflow" \
      org.opencontainers.image.description="MLflow tracking server for PostgreSQL and S3" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 app \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin app
COPY --from=build /app/venv /app/venv
# All writes go to /tmp, so the root can be read-only. PYTHONSAFEPATH keeps /tmp out of the import path.
ENV PATH=/app/venv/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_HOST=0.0.0.0 \
    MLFLOW_PORT=5000
WORKDIR /tmp
# ECS gives an empty volume the image's permissions only where the image declares it.
VOLUME ["/tmp"]
USER 10001:10001
EXPOSE 5000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5000/health', timeout=4)"]
ENTRYPOINT ["mlflow", "server"]
