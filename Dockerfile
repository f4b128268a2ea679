# dcmweb with its archive, for `docker build -t dcmweb .` in a clone.
#
#   docker run --rm dcmweb https://pacs.example/dicom-web search studies
#   docker run --rm --read-only --tmpfs /tmp -v "$PWD/images:/data" dcmweb http://host:8042/dicom-web store .
#   docker run --rm --read-only --tmpfs /tmp -v archive:/data -p 8080:8080 dcmweb serve . --host 0.0.0.0
#
# EXTRAS are those of pyproject.toml: --build-arg EXTRAS=archive,buckets
FROM python:3.13-slim-bookworm AS build
ARG EXTRAS=archive
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY docs/man docs/man
COPY dcmweb dcmweb
# Compiled here, since a read-only file system keeps nothing that is compiled later.
RUN python -m venv /opt/dcmweb \
    && /opt/dcmweb/bin/pip install --no-cache-dir --compile ".[${EXTRAS}]" \
    && /opt/dcmweb/bin/pip uninstall --yes pip

FROM python:3.13-slim-bookworm
LABEL org.opencontainers.image.title="dcmweb" \
      org.opencontainers.image.description="Move medical images in and out of DICOMweb servers" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin dcmweb \
    && install --directory --owner=dcmweb --group=dcmweb /data
COPY --from=build /opt/dcmweb /opt/dcmweb
# The settings of XDG lead the file of profiles, and what is cached, away from the data.
ENV PATH=/opt/dcmweb/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    XDG_CONFIG_HOME=/config \
    XDG_CACHE_HOME=/tmp
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["dcmweb"]
CMD ["help"]
