# The images of Stowage: `--target` chooses one of images/list. `make images` builds them all.
#
# The last stages hold one program, the C library it is linked with, and the certificates of public authorities: no shell, no
# package manager, a user without rights (docs/adr/0040-one-image-for-each-service.md).

FROM docker.io/library/rust:1.95-slim-bookworm AS compiler
RUN apt-get update && \
    apt-get install -y --no-install-recommends binutils ca-certificates gcc libc6-dev lld && \
    rm -rf /var/lib/apt/lists/*
WORKDIR /stowage

# What decides about dependencies, and empty programs and libraries in place of ours. As long as this comes out the same,
# the next stage is taken from the cache.
FROM compiler AS manifests
COPY . .
RUN find . -type f ! -name Cargo.toml ! -name Cargo.lock ! -name rust-toolchain.toml ! -path './.cargo/*' ! -path './images/list' \
      ! -path './*/src/main.rs' ! -path './*/src/lib.rs' ! -path './*/src/bin/*.rs' -delete && \
    find . -name '*.rs' -exec sh -c 'for file; do echo "fn main() { }" >"$file"; done' stub {} + && \
    find . -type d -empty -delete && find . -exec touch --date=@0 {} +

FROM compiler AS dependencies
COPY --from=manifests /stowage .
RUN cargo build --release --locked --bins $(sed '/^#/d; s/^/-p /' images/list)

FROM dependencies AS programs
COPY . .
# Cargo compares times, and ours are older than those of the empty sources' programs.
RUN find . -name '*.rs' -not -path './target/*' -exec touch {} + && \
    cargo build --release --locked --bins $(sed '/^#/d; s/^/-p /' images/list)
# The root of each image: program, loader and libraries where the program expects them, certificates, accounts.
RUN set -eu; for name in $(sed '/^#/d' images/list); do \
      root=/images/$name; mkdir -p "$root/bin" "$root/etc"; mkdir -m 1777 "$root/tmp"; \
      strip -o "$root/bin/$name" "target/release/$name"; \
      ldd "$root/bin/$name" | grep -o '/[^ ]*' | xargs -I{} cp --parents -L {} "$root"; \
      cp --parents -L /etc/ssl/certs/ca-certificates.crt "$root"; \
      printf 'root:x:0:0:root:/:/none\nnonroot:x:65532:65532:nonroot:/:/none\n' >"$root/etc/passwd"; \
      printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"; \
    done

FROM scratch AS image
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.licenses=Apache-2.0
ENV PATH=/bin
USER 65532:65532

FROM image AS scheduler
COPY --from=programs /images/scheduler /
ENTRYPOINT ["/bin/scheduler"]

FROM image AS dispatcher
COPY --from=programs /images/dispatcher /
ENTRYPOINT ["/bin/dispatcher"]

FROM image AS uploader
COPY --from=programs /images/uploader /
ENTRYPOINT ["/bin/uploader"]

FROM image AS dumper
COPY --from=programs /images/dumper /
ENTRYPOINT ["/bin/dumper"]

FROM image AS metrics-gateway
COPY --from=programs /images/metrics-gateway /
ENTRYPOINT ["/bin/metrics-gateway"]

FROM image AS kubectl-stash
COPY --from=programs /images/kubectl-stash /
ENTRYPOINT ["/bin/kubectl-stash"]
