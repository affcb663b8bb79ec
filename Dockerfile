# certfront: a drop-in for the official NGINX image. BuildKit builds it: docker build -t certfront .
# Behind an inspecting proxy, pip needs that proxy's CA: docker build --secret id=ca,src=proxy-ca.pem -t certfront .
ARG NGINX_IMAGE=nginx:1.30-trixie

FROM ${NGINX_IMAGE} AS python
SHELL ["/bin/sh", "-eu", "-c"]
# Debian's Python, whatever its patch level: its security updates come with a new build. Compiled as it runs (see
# PYTHONOPTIMIZE), without what nobody reads in a container; columns of source lines are for debugging, and take memory.
# hadolint ignore=DL3008
RUN apt-get update; \
    apt-get install --yes --no-install-recommends python3; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/apt /var/log/dpkg.log \
        /usr/lib/python3*/test /usr/lib/python3*/pydoc_data /usr/lib/python3*/lib-dynload/_test* /usr/lib/python3*/lib-dynload/_xx*; \
    find /usr/lib/python3* -name __pycache__ -prune -exec rm -r {} +; \
    python3 -X no_debug_ranges -m compileall -q -o 2 /usr/lib/python3*


FROM python AS build
# hadolint ignore=DL3008
RUN apt-get update; \
    apt-get install --yes --no-install-recommends python3-venv
WORKDIR /build
COPY requirements requirements
# Wheels only, so there is no compiler; and only those that the lock file has a hash for.
RUN --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    python3 -m venv tools; \
    python3 -m venv --without-pip /opt/certfront; \
    tools/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r requirements/build.txt; \
    tools/bin/pip --python /opt/certfront/bin/python install --no-cache-dir --no-compile --only-binary :all: \
        --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY entrypoint entrypoint
COPY nginx nginx
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist .; \
    tools/bin/pip --python /opt/certfront/bin/python install --no-index --no-compile --no-deps dist/*.whl; \
    rm -r /opt/certfront/lib/python3*/site-packages/supervisor/tests; \
    python3 -X no_debug_ranges -m compileall -q -o 2 /opt/certfront/lib


FROM python
ARG NGINX_IMAGE
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="certfront" \
      org.opencontainers.image.description="NGINX that fetches its certificates from HCL Domino CertMgr" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${NGINX_IMAGE}"
COPY --from=build /opt/certfront /opt/certfront
COPY --chmod=755 entrypoint/container.sh /usr/local/bin/certfront-container
COPY --chmod=755 entrypoint/certfront.sh /usr/local/bin/certfront
COPY --chmod=755 entrypoint/nginx.sh /opt/certfront/libexec/nginx
# Our site takes the place of the base image's own. Any user of OpenShift's is in group 0. A tmpfs takes over the mode of
# the folder that it covers, and whoever runs must be able to write there. As root, certfront makes both folders root's
# alone before it reads anything in them: NGINX's workers are the user nginx.
RUN ln -s certfront/nginx.pid /run/nginx.pid; \
    rm -f /etc/nginx/conf.d/default.conf; \
    install -d -o nginx -g 0 -m 0775 /var/lib/certfront; \
    install -d -m 1777 /run /run/certfront
# Administrators' `nginx -t` and `nginx -s reload` are about what certfront runs.
ENV PATH=/opt/certfront/libexec:$PATH
# Without docstrings and assertions Python takes less memory: certfront is a guest here.
ENV PYTHONOPTIMIZE=2
VOLUME /var/lib/certfront
EXPOSE 80 443 443/udp 8081
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["certfront", "health"]
ENTRYPOINT ["certfront-container"]
CMD ["run"]
# Last, as they differ in every build. Empty where nobody says: those of the base image would be wrong.
ARG SOURCE=
ARG REVISION=
ARG CREATED=
ARG DOCUMENTATION=${SOURCE:+${SOURCE}#readme}
LABEL org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.documentation="${DOCUMENTATION}" \
      org.opencontainers.image.url="${SOURCE}"
