# One ONNX model on AWS Lambda, without Ray. The runtime interface client makes any Python base one of Lambda's.
# Pin the base: --build-arg BASE=docker.io/library/python@sha256:…
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /build
ENV PYC_INVALIDATION_MODE=UNCHECKED_HASH
COPY infra/images/locks/build.lock infra/images/locks/lambda.lock ./
# A mirror of the packages is reached by these, where the build is given them: infra/images/build.sh says how.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    python3 -m venv /tools \
    && /tools/bin/pip install --no-cache-dir --require-hashes --requirement build.lock \
    && python3 -m venv --without-pip /app/venv \
    && /tools/bin/uv pip install --python /app/venv/bin/python --no-cache --compile-bytecode \
        --require-hashes --requirement lambda.lock
COPY pyproject.toml README.md LICENSE ./
COPY console console
COPY spark_jobs spark_jobs
COPY training training
COPY serve serve
COPY infra/__init__.py infra/
COPY infra/lambdas infra/lambdas
RUN /tools/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
    && /tools/bin/uv pip install --python /app/venv/bin/python --no-cache --compile-bytecode --no-deps dist/*.whl

FROM ${BASE}
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ml-training-deployment lambda" \
      org.opencontainers.image.description="ONNX models on AWS Lambda" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /app/venv /app/venv
# Lambda's root is read-only but for /tmp. PYTHONSAFEPATH keeps /tmp out of the import path.
ENV PATH=/app/venv/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
WORKDIR /tmp
# Lambda runs it as a user of its own; this one is for wherever else it runs.
USER 10001:10001
# Lambda starts and ends the process for each environment: there is nothing to ask.
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "awslambdaric"]
CMD ["infra.lambdas.predict.handler"]
