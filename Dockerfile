FROM python:3.12-slim

RUN useradd --create-home --uid 10001 bridge \
    && install -d -o bridge -g bridge /var/lib/meterbridge /home/bridge/.prefect

WORKDIR /app
COPY requirements.lock ./
RUN pip install --no-cache-dir --root-user-action=ignore --require-hashes --requirement requirements.lock

COPY pyproject.toml README.md LICENSE prefect.yaml ./
COPY flows flows
COPY tasks tasks
COPY connectors connectors
COPY meterbridge meterbridge
# Editable: the deployments' dotted entrypoints and the command run the same files.
RUN pip install --no-cache-dir --root-user-action=ignore --no-index --no-deps --no-build-isolation --editable .

# Console scripts do not have the working directory on their path, and flows, tasks and connectors are common names.
ENV PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    METERBRIDGE_HOME=/var/lib/meterbridge \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false

USER bridge
ENTRYPOINT ["meterbridge"]
CMD ["--help"]
