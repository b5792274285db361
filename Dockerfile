# Every molpool command, for the CPU.
#   docker build -t molpool .
#   docker run --rm -v "$PWD:/work" molpool train auto --data-path molecules.csv
FROM python:3.12-slim AS build
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /bin/uv
WORKDIR /src
COPY . .
RUN uv build --all-packages --no-sources --wheel --out-dir /wheels \
    && uv venv /opt/molpool \
    # The CPU's torch takes a tenth of the space of the one with CUDA, whose digest the lock has.
    && uv pip install --python /opt/molpool --torch-backend cpu --no-verify-hashes \
        --no-cache --compile-bytecode --find-links /wheels \
        --constraint requirements.lock /wheels/molpool-[0-9]*.whl

FROM python:3.12-slim
# RDKit draws with X11's libraries, LightGBM needs OpenMP.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 libxext6 libxrender1 libexpat1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home molpool \
    && mkdir /work && chown molpool /work
COPY --from=build /opt/molpool /opt/molpool
ENV PATH=/opt/molpool/bin:$PATH
USER molpool
WORKDIR /work
ENTRYPOINT ["molpool"]
CMD ["--help"]
