# syntax=docker/dockerfile:1
# An image of otelprof with every optional part: non-root, and nothing in it needs to be written to at run time.
#   docker build -t otelprof .
#   docker run --read-only -p 127.0.0.1:4317:4317 -e OTELPROF_LISTEN=0.0.0.0 \
#     -e OTELPROF_ALLOW_UNAUTHENTICATED=true -e OTELPROF_BACKEND=pyroscope:4040 otelprof

FROM python:3.13-slim-trixie AS build
COPY --from=rust:1.95-slim-trixie /usr/local/rustup /usr/local/rustup
COPY --from=rust:1.95-slim-trixie /usr/local/cargo /usr/local/cargo
ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:$PATH
# The C compiler links the core and compiles zstd; which of its versions does not matter.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --no-install-recommends --yes gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock pyproject.toml README.md LICENSE ./
COPY src src
COPY otelprof otelprof
RUN python -m venv /opt/otelprof && /opt/otelprof/bin/python -m pip install --no-cache-dir ".[all]"

FROM python:3.13-slim-trixie
COPY --from=build /opt/otelprof /opt/otelprof
COPY config/sdk_target.yaml /etc/otelprof/config.yaml
COPY config/gateway.yaml config/sidecar.yaml /etc/otelprof/
# The same ports for every role: the health check asks at the first, or at OTELPROF_HEALTH_ENDPOINT.
ENV PATH=/opt/otelprof/bin:$PATH PYTHONDONTWRITEBYTECODE=1 OTELPROF_PORT=4317 OTELPROF_HTTP_PORT=4318
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 4317 4318
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["otelprof", "health"]
ENTRYPOINT ["otelprof"]
CMD ["run", "--config", "/etc/otelprof/config.yaml"]
