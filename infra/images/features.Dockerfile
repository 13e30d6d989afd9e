# The feature jobs on EMR Serverless: our packages, on a Python of their own, beside EMR's Spark. They use Spark 4, which
# comes with the release emr-spark-8.0.0; the image and the application must be of one release. There is no default base,
# since EMR's tags move: --build-arg BASE=public.ecr.aws/emr-serverless/spark/emr-spark-8.0.0@sha256:…
# https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/application-custom-image.html
ARG BASE

FROM ${BASE} AS build
# hadolint ignore=DL3002
USER 0:0
WORKDIR /build
ENV PYC_INVALIDATION_MODE=UNCHECKED_HASH
# hadolint ignore=DL3041
RUN dnf install --assumeyes python3.11 python3.11-pip && dnf clean all
COPY infra/images/locks/build.lock infra/images/locks/features.lock ./
# A mirror of the packages is reached by these, where the build is given them: infra/images/build.sh says how.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    python3.11 -m venv /tools \
    && /tools/bin/pip install --no-cache-dir --require-hashes --requirement build.lock \
    && python3.11 -m venv --without-pip /app/venv \
    && /tools/bin/uv pip install --python /app/venv/bin/python --no-cache --compile-bytecode \
        --require-hashes --requirement features.lock
COPY pyproject.toml README.md LICENSE ./
COPY console console
COPY spark_jobs spark_jobs
RUN /tools/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
    && /tools/bin/uv pip install --python /app/venv/bin/python --no-cache --compile-bytecode --no-deps dist/*.whl

FROM ${BASE}
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ml-training-deployment features" \
      org.opencontainers.image.description="Feature jobs for EMR Serverless" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 0:0
# Amazon's repositories are pinned to a release by the base, so the version is too.
# hadolint ignore=DL3041
RUN dnf install --assumeyes python3.11 && dnf clean all && rm -rf /var/cache/dnf
COPY --from=build /app/venv /app/venv
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYSPARK_PYTHON=/app/venv/bin/python \
    PYSPARK_DRIVER_PYTHON=/app/venv/bin/python
# A job: EMR Serverless watches it. The entry point is the base's, too.
HEALTHCHECK NONE
# EMR Serverless demands this user, by this name.
# hadolint ignore=DL3066
USER hadoop:hadoop
