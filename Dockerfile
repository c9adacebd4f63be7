# CPU by default:   docker build -t simhand .
# For CUDA:         docker build -t simhand --build-arg BASE=nvidia/cuda:13.0.1-runtime-ubuntu24.04 .
# Run:              docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" simhand ingest videos/
#                   (GPU: add --gpus all --shm-size 8g; --user: the results belong to you, in a folder you can write)
ARG BASE=ubuntu:24.04
FROM ${BASE}

# g++ and the Python headers build hnswlib, which comes as source; libgl1 and libglib2 are what OpenCV links to,
# libegl1 and libgles2 what MediaPipe links to.
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        python3 python3-venv python3-dev g++ libgl1 libglib2.0-0 libegl1 libgles2 \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 10001 simhand
COPY --chown=simhand . /opt/simhand
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir -c /opt/simhand/constraints.txt /opt/simhand
# Any user id works (see Run): the home is everybody's, and libraries that ask for a user's name get one.
RUN mkdir -p /home/simhand/.cache && chmod 1777 /home/simhand /home/simhand/.cache
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 HOME=/home/simhand USER=simhand \
    NUMBA_CACHE_DIR=/home/simhand/.cache/numba MPLCONFIGDIR=/home/simhand/.cache/matplotlib

USER simhand
WORKDIR /data
ENTRYPOINT ["simhand"]
CMD ["--help"]
