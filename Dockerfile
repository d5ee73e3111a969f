# syntax=docker/dockerfile:1

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# What is in a cache is not in the image, so the binary leaves it within the same step. Kernels for aarch64 have pages of up
# to 64 KiB, and jemalloc is built for one size and those below.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    if [ "$(uname -m)" = aarch64 ]; then export JEMALLOC_SYS_WITH_LG_PAGE=16; fi \
    && cargo build --release --locked --package imgsrv-server \
    && strip -o /imgsrv target/release/imgsrv
# The final stage has no shell to make a folder with.
RUN install --directory --mode=0700 /data

# glibc, libgcc and CA certificates; neither a shell nor a package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /imgsrv /usr/local/bin/imgsrv
# A new volume takes its owner and mode from the folder that it is mounted over.
COPY --from=build --chown=65532:65532 /data /var/lib/imgsrv
WORKDIR /var/lib/imgsrv
# Metrics listen on the loopback interface by default, which nobody outside of the container reaches.
ENV IMGSRV_DATA_DIR=/var/lib/imgsrv \
    IMGSRV_METRICS_LISTEN=:9464
EXPOSE 8080 9464
VOLUME /var/lib/imgsrv
# By number: Kubernetes cannot tell from a name that it is not root.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/imgsrv"]
CMD ["serve"]
