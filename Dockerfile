# syntax=docker/dockerfile:1

# Node's long-term support line, the one the tests run on. Both stages below start from it, so that a native module
# could never be built for another libc than it runs with.
# A tag moves: for a build that can be repeated, pass the digest that you have checked,
# `--build-arg NODE_IMAGE=node:24-slim@sha256:…` (`docker buildx imagetools inspect node:24-slim` shows it).
ARG NODE_IMAGE=node:24-slim

FROM ${NODE_IMAGE} AS base
WORKDIR /app
COPY package.json package-lock.json ./

FROM base AS build
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json ./
COPY src src
# The server alone: no image runs what the npm package has for browsers and for Vite.
RUN npx --no-install tsc -p src/tsconfig.build.json

# The example SPA; only the target `demo` takes it.
FROM build AS spa
COPY spa-example spa-example
RUN npx --no-install vite build spa-example

FROM base AS dependencies
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM ${NODE_IMAGE} AS runtime
ENV NODE_ENV=production
# The container's own loopback is of no use to its neighbours. The port for health and metrics is for them only:
# publish 3000, never 9464.
ENV SALLYPORT_HOST=0.0.0.0
ENV SALLYPORT_OPS_PORT=9464
WORKDIR /app
# All files belong to root and the process doesn't run as root: it can't change its own code, read-only or not.
COPY --from=dependencies /app/node_modules node_modules
COPY package.json ./
COPY --from=build /app/dist dist
# A number, for Kubernetes can't tell that a name isn't root (runAsNonRoot).
USER 1000:1000
EXPOSE 3000
# Alive, not ready: a provider that is down is no reason to restart this container.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --start-interval=1s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.SALLYPORT_OPS_PORT}/livez`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# The exec form: node is PID 1 and gets the SIGTERM itself; the server drains, then exits.
ENTRYPOINT ["node", "dist/cli/main.js"]
CMD ["start"]

# `docker build --target demo .`: the example SPA and its API, for docker-compose.yml.
FROM runtime AS demo
COPY --from=spa /app/spa-example/dist /srv/spa
COPY spa-example/demo spa-example/demo
COPY deploy/demo-api.ts deploy/

# `docker build .`: the server alone. Mount your built SPA, or copy it in: FROM sallyport, COPY dist /srv/spa.
FROM runtime AS sallyport
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG NODE_IMAGE
LABEL org.opencontainers.image.title="Sallyport" \
      org.opencontainers.image.description="Backend-for-frontend token handler for single-page apps" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${NODE_IMAGE}"
