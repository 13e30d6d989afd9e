# Jobs that end: `training …`, or `spark_jobs …` on one machine. Java is there for Spark.
# Pin the base: --build-arg BASE=docker.io/library/python@sha256:…
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
# cpu, or cu130 for a node with GPUs: where uv takes torch's build from.
ARG TORCH_BACKEND=cpu
WORKDIR /build
ENV PYC_INVALIDATION_MODE=UNCHECKED_HASH
COPY infra/images/locks/build.lock infra/images/locks/training.lock requirements.lock ./
# A mirror of the packages is reached by these, where the build is given them: infra/images/build.sh says how.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    python3 -m venv /tools \
    && /tools/bin/pip install --no-cache-dir --require-hashes --requirement build.lock \
    && python3 -m venv --without-pip /app/venv \
    && /tools/bin/uv pip install --python /app/venv/bin/python --no-cache --compile-bytecode \
        --require-hashes --requirement training.lock
# Each build of torch has its own hashes, so its version alone is pinned. Only CUDA's brings more packages with it.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    /tools/bin/uv pip install --python /app/venv/bin/python --no-cache --compile-bytecode \
        --torch-backend "${TORCH_BACKEND}" --constraint requirements.lock torch
COPY pyproject.toml README.md LICENSE ./
COPY console console
COPY spark_jobs spark_jobs
COPY training training
RUN /tools/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
    && /tools/bin/uv pip install --python /app/venv/bin/python --no-cache --compile-bytecode --no-deps dist/*.whl

FROM ${BASE}
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ml-training-deployment training" \
      org.opencontainers.image.description="Feature and training jobs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Debian's JRE has the module jdk.incubator.vector, which Spark needs. Debian removes old versions, so it can't be pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 app \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin app
COPY --from=build /app/venv /app/venv
# All writes go to /tmp, so the root can be read-only. PYTHONSAFEPATH keeps /tmp out of the import path.
ENV PATH=/app/venv/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    SPARK_LOCAL_DIRS=/tmp
WORKDIR /tmp
# ECS gives an empty volume the image's permissions only where the image declares it.
VOLUME ["/tmp"]
USER 10001:10001
# A job: its exit code says how it is.
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m"]
CMD ["training", "--help"]
