# A node in a container. Its home is the volume /data; port 4001 is where peers reach it.
#
#   docker build -t autoresearch-node .
#   docker run --init -v autoresearch:/data -p 4001:4001 autoresearch-node
#   docker run --rm -v autoresearch:/data autoresearch-node doctor --home /data
#
# With CUDA's libraries, for a host with an NVIDIA driver and its container toolkit:
#   docker build --build-arg TORCH=cuda -t autoresearch-node:cuda .
#   docker run --init --gpus all -v autoresearch:/data -p 4001:4001 autoresearch-node:cuda
#
# docs/install.md has the same for podman, macOS and Windows, and which sandbox a container leaves.

# Any Debian or Ubuntu with Python 3.11 or newer does; one without Python gets Debian's.
ARG BASE=python:3.12-slim

FROM ${BASE} AS base
# git keeps the workspace, bubblewrap is a sandbox layer.
RUN command -v python3 >/dev/null && python='' || python='python3 python3-venv'; \
    apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends bubblewrap ca-certificates git $python \
    && rm -rf /var/lib/apt/lists/*

# The compiler is for fastecdsa, a part of libp2p, and stays behind with this stage.
FROM base AS built
RUN command -v python3-config >/dev/null && headers='' || headers=python3-dev; \
    apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends gcc libc6-dev libgmp-dev $headers

# cpu or cuda. The usual index has torch with CUDA's libraries, which also works without a GPU, several GB larger. For
# cpu, name an index with builds for processors only (PyTorch's site lists it): they are then preferred.
ARG TORCH=cpu
ARG TORCH_CPU_INDEX=""
ARG ACCEPT_UNLISTED=""

# Set up as anywhere else, by hash. Editable, so that objectives are the very files of the repository: their ids depend
# on every byte. First what is installed, so that a change of the code leaves the big layer as it is.
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE swarm.toml ./
COPY scripts/set_up.sh scripts/
COPY scripts/pinned scripts/pinned
RUN case "$TORCH" in cpu) index="$TORCH_CPU_INDEX" ;; cuda) index="" ;; *) echo "TORCH is cpu or cuda" >&2; exit 1 ;; esac \
    && export PIP_NO_CACHE_DIR=1 ACCEPT_UNLISTED && if [ -n "$index" ]; then export PIP_EXTRA_INDEX_URL="$index"; fi \
    && bash -c 'source scripts/set_up.sh && set_up node' \
    && .venv/bin/python -c "import sys, torch; sys.exit('$TORCH' == 'cuda' and not torch.version.cuda)"
COPY . .
RUN rm .venv/set-up.done && bash -c 'source scripts/set_up.sh && set_up node' \
    && .venv/bin/python -m compileall -q node protocol && rm .venv/set-up.log

FROM base
RUN apt-get update && apt-get install --yes --no-install-recommends libgmp10 && rm -rf /var/lib/apt/lists/*
COPY --from=built /app /app
ENV PATH=/app/.venv/bin:$PATH

# What NVIDIA's container runtime makes visible inside; nothing where there is no such runtime.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

RUN useradd --create-home node && mkdir /data && chown node:node /data
USER node
WORKDIR /app
VOLUME /data
EXPOSE 4001
STOPSIGNAL SIGINT
ENTRYPOINT ["autoresearch-node"]
CMD ["join", "--home", "/data", "--listen", "/ip4/0.0.0.0/tcp/4001"]
