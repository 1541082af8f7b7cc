# syntax=docker/dockerfile:1
# docker build -t fitai . && docker run -p 8080:8080 -v fitai:/data fitai
# `make image-steps` performs these steps without an engine, and tests/deploy holds them.

FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements.lock requirements-dev.lock ./
# Wheels only: nothing is compiled, so that no compiler is needed. What runs gets no pip.
RUN --mount=type=cache,target=/root/.cache/pip \
    sed -n '/^setuptools==/,/# via/p' requirements-dev.lock > /tmp/build.lock \
    && pip install --require-hashes --only-binary :all: -r /tmp/build.lock \
    && python -m venv --without-pip /opt/fitai \
    && pip --python /opt/fitai/bin/python install --require-hashes --only-binary :all: -r requirements.lock
COPY . .
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheels . \
    && pip --python /opt/fitai/bin/python install --no-deps --no-index /tmp/wheels/*.whl

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home fitai && install -d -o fitai -g fitai -m 0700 /data
COPY --from=build /opt/fitai /opt/fitai
ENV PATH=/opt/fitai/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FITAI_ENVIRONMENT=production \
    FITAI_DATA_DIR=/data \
    FITAI_HOST=0.0.0.0 \
    FITAI_PORT=8080
USER fitai
WORKDIR /data
VOLUME /data
EXPOSE 8080
# Liveness, not readiness: a container whose database is away must not be restarted for it.
HEALTHCHECK --interval=15s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['FITAI_PORT'] + '/health/live', timeout=2)"]
STOPSIGNAL SIGTERM
CMD ["fitai", "serve"]
