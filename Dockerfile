# An image with coracle and what it runs: docker build -t coracle . && docker run --privileged coracle
FROM golang:1.26-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends libseccomp-dev pkg-config nftables busybox-static mmdebstrap
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN make build

FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends nftables ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/bin/coracle /usr/local/bin/coracle
RUN ln -s coracle /usr/local/bin/kubectl
VOLUME /var/lib/coracle
ENTRYPOINT ["coracle"]
CMD ["up"]
