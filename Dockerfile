# The server image. Models are not in it: mount an exported repository at /models.
#
#   python -m export RUN --repository build/model_repository
#   docker build -t qafm-server .
#   docker run --rm --gpus all --shm-size=1g -p 127.0.0.1:8001-8002:8001-8002 \
#     -v "$PWD/build/model_repository:/models:ro" qafm-server
#
# --shm-size: every Python model shares about 46 MB with the server, and more for large batches; Docker gives 64 MB.
# In Kubernetes that is an emptyDir with medium: Memory at /dev/shm. Without a GPU leave out --gpus.
# TensorRT: append `--config-name tensorrt` to the docker run command, and mount the models without `:ro`. Their plans
# are built on the first start, which takes minutes, and kept beside the models.
# HTTP answers within the container alone, where one request of strangers can end the server; --http-host 0.0.0.0 opens it.
FROM nvcr.io/nvidia/tritonserver:26.07-py3

# The image's Python is the system's own, and it is the one that runs the models: packages go there.
ENV PIP_BREAK_SYSTEM_PACKAGES=1 PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1

WORKDIR /opt/qafm
COPY pyproject.toml README.md LICENSE ./
COPY qafm ./qafm
COPY server ./server
RUN python3 -m pip install .
# NVIDIA's Python module of the TensorRT that the image has, without its libraries: it builds the plans.
RUN python3 -m pip install --no-deps \
  "tensorrt-cu13-bindings==$(dpkg-query --show --showformat '${Version}' 'libnvinfer1?' | cut -d- -f1)"

# The image's own unprivileged account, by number so that Kubernetes can see it is not root.
USER 1000:1000
WORKDIR /

VOLUME /models
EXPOSE 8001 8002

# Healthy means that it gives the known answers of its manifest. HTTP is for this alone: callers use gRPC, 8001.
HEALTHCHECK --interval=30s --timeout=15s --start-period=300s --retries=3 \
  CMD ["python3", "-m", "server.probe"]

ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh", "python3", "-m", "server", "--repository", "/models", "--host", "0.0.0.0", "--log", "-", "--ready-timeout-s", "1800"]
