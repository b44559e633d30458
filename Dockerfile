# The server as an image: it runs as a user without rights, and its root file system may be read-only.
# `docker build --tag openengagement .` builds it; docs/deploying.md says how to run it.
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_INPUT=1
WORKDIR /build
RUN python -m venv /usr/local/openengagement
# The dependencies are a layer of their own, which stays the same while only our code changes.
COPY deploy/requirements.lock ./
RUN /usr/local/openengagement/bin/pip install --require-hashes --no-deps --requirement requirements.lock
COPY LICENSE README.md pyproject.toml ./
COPY packages/client packages/client
COPY src src
RUN /usr/local/openengagement/bin/pip install --no-deps ./packages/client .

FROM python:3.11-slim-bookworm
COPY --from=build /usr/local/openengagement /usr/local/openengagement
RUN install --directory --mode=0700 --owner=10001 --group=10001 \
    /var/lib/openengagement /var/lib/openengagement-backups
# The bytecode is in the image, and nothing may be written next to it.
ENV PATH=/usr/local/openengagement/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    OPENENGAGEMENT_DATA=/var/lib/openengagement
USER 10001:10001
WORKDIR /var/lib/openengagement
VOLUME /var/lib/openengagement
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/livez', timeout=4)"]
ENTRYPOINT ["openengagement"]
CMD ["serve", "--host", "0.0.0.0", "--workers", "2"]
