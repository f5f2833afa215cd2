# relvec itself, from a binary that was built before: cargo build --release && docker build --tag relvec .
# The script that a run generates needs Python and its venv module, and nothing else that the base image has not.
FROM python:3.11-slim

RUN useradd --system --uid 10001 --home-dir /var/lib/relvec --create-home --shell /usr/sbin/nologin relvec
COPY target/release/relvec /usr/local/bin/relvec

USER relvec
ENV RELVEC_HOME=/var/lib/relvec \
    RELVEC_GRAPHS=/etc/relvec/graphs \
    RELVEC_LOG=info \
    RELVEC_LOG_FORMAT=json
VOLUME ["/var/lib/relvec"]
EXPOSE 7070

# SIGTERM: runs stop where they are, and go on at the next start.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7070/readyz', timeout=4)"]
ENTRYPOINT ["relvec"]
CMD ["serve"]
