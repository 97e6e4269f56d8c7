# A node in a container. Its home is the volume /data; port 4001 is where peers reach it.
#
#   docker build -t autoresearch-node .
#   docker run --init -v autoresearch:/data -p 4001:4001 autoresearch-node
#   docker run --rm -v autoresearch:/data autoresearch-node doctor --home /data
FROM python:3.12-slim

# git keeps the workspace, bubblewrap is a sandbox layer; the compiler is for fastecdsa, a part of libp2p.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap gcc git libc6-dev libgmp-dev \
    && rm -rf /var/lib/apt/lists/*

# Another package index to look in as well, such as one with builds of torch for processors only: much smaller.
ARG PIP_EXTRA_INDEX_URL=""

# Editable, so that objectives are the very files of the repository: their ids depend on every byte.
WORKDIR /app
COPY . .
RUN pip install --no-cache-dir -c constraints.txt -e .

RUN useradd --create-home node && mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 4001
STOPSIGNAL SIGINT
ENTRYPOINT ["autoresearch-node"]
CMD ["join", "--home", "/data", "--listen", "/ip4/0.0.0.0/tcp/4001"]
