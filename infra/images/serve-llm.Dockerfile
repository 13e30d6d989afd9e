# The ingress with language models of its own: as serve-gpu.Dockerfile, with vLLM, transformers and torch for CUDA.
# It was never built: it takes some ten GB, and a GPU to try.
# Pin the base: --build-arg BASE=docker.io/library/python@sha256:…
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /build
ENV PYC_INVALIDATION_MODE=UNCHECKED_HASH
COPY infra/images/locks/build.lock infra/images/locks/serve-llm.lock ./
# A mirror of the packages is reached by these, where the build is given them: infra/images/build.sh says how.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    python3 -m venv /tools \
    && /tools/bin/pip install --no-cache-dir --require-hashes --requirement build.lock \
    && python3 -m venv --without-pip /app/venv \
    && /tools/bin/uv pip install --python /app/venv/bin/python --no-cache --compile-bytecode \
        --require-hashes --requirement serve-llm.lock
COPY pyproject.toml README.md LICENSE ./
COPY console console
COPY spark_jobs spark_jobs
COPY training training
COPY serve serve
RUN /tools/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
    && /tools/bin/uv pip install --python /app/venv/bin/python --no-cache --compile-bytecode --no-deps dist/*.whl

FROM ${BASE}
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ml-training-deployment serve-llm" \
      org.opencontainers.image.description="Ray Serve ingress for language models, on NVIDIA GPUs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Triton compiles what starts its kernels where it runs, with gcc; torch.compile asks for g++ on a GPU too
# (https://github.com/pytorch/pytorch/issues/116696). Debian removes old versions, so they can't be pinned. Ray asks for
# the name of the user that it runs as.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 app \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin app
COPY --from=build /app/venv /app/venv
# All writes go to /tmp, so the root can be read-only. PYTHONSAFEPATH keeps /tmp out of the import path.
ENV PATH=/app/venv/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    LD_LIBRARY_PATH=/app/venv/lib/python3.11/site-packages/nvidia/cu13/lib:/app/venv/lib/python3.11/site-packages/nvidia/cudnn/lib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    HEALTH_URL=http://127.0.0.1:8000/v2/health/ready
WORKDIR /tmp
# ECS gives an empty volume the image's permissions only where the image declares it.
VOLUME ["/tmp"]
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(os.environ['HEALTH_URL'], timeout=4)"]
ENTRYPOINT ["python", "-m", "serve"]
CMD ["run"]
