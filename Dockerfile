# A node in a container. Its home is the volume /data; port 4001 is where peers reach it.
#
#   docker build -t autoresearch-node .
#   docker run --init -v autoresearch:/data -p 4001:4001 autoresearch-node
#   docker run --rm -v autoresearch:/data autoresearch-node doctor --home /data
#
# With CUDA's libraries, for a host with an NVIDIA driver and its container toolkit:
#   docker build --build-arg TORCH=cuda -t autoresearch-node:cuda .
#   docker run --init --gpus all -v autoresearch:/data -p 4001:4001 autoresearch-node:cuda
FROM python:3.12-slim

# git keeps the workspace, bubblewrap is a sandbox layer; the compiler is for fastecdsa, a part of libp2p.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap gcc git libc6-dev libgmp-dev \
    && rm -rf /var/lib/apt/lists/*

# cpu or cuda. On x86-64 the usual index has torch with CUDA's libraries, which also works without a GPU, several GB
# larger. For cpu, name an index with builds for processors only (PyTorch's site lists it): they are then preferred.
ARG TORCH=cpu
ARG TORCH_CPU_INDEX=""

# Editable, so that objectives are the very files of the repository: their ids depend on every byte.
WORKDIR /app
COPY . .
RUN case "$TORCH" in cpu) index="$TORCH_CPU_INDEX" ;; cuda) index="" ;; *) echo "TORCH is cpu or cuda" >&2; exit 1 ;; esac \
    && pip install --no-cache-dir -c constraints.txt ${index:+--extra-index-url "$index"} -e . \
    && python -c "import sys, torch; sys.exit('$TORCH' == 'cuda' and not torch.version.cuda)"

# What NVIDIA's container runtime makes visible inside; nothing where there is no such runtime.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

RUN useradd --create-home node && mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 4001
STOPSIGNAL SIGINT
ENTRYPOINT ["autoresearch-node"]
CMD ["join", "--home", "/data", "--listen", "/ip4/0.0.0.0/tcp/4001"]
