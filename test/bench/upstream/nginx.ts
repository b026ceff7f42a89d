/**
 * The API behind every contender: nginx with keep-alive, answering 1 kB of JSON from memory, taking POST bodies and
 * serving 1 GiB with sendfile. It counts what it serves, so that no answer can come from anywhere else unnoticed.
 */
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { httpGet } from '../client.ts';
import { freePort, launch, type Place, type Running, workFolder } from '../processes.ts';

/** Bytes of the large download. */
export const largeBytes = 1024 ** 3;

/** The JSON that `GET /v1/items` answers: about 1 kB. */
export const itemsBody = JSON.stringify({
  items: Array.from({ length: 8 }, (_, index) => ({
    id: `8f14e45f-ceea-467f-a0c5-00000000000${index}`,
    name: `Order ${index}`,
    state: index % 2 === 0 ? 'open' : 'shipped',
    total: 1999 + index,
    currency: 'EUR',
  })),
});

/** Starts nginx with one worker and `http` as the content of its `http {}` block. */
export async function startNginx(name: string, place: Place, port: number, http: string): Promise<Running> {
  const prefix = join(workFolder, name);
  mkdirSync(prefix, { recursive: true });
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const file = join(prefix, 'nginx.conf');
  writeFileSync(
    file,
    `daemon off; worker_processes 1; pid ${prefix}/nginx.pid; error_log stderr warn;
${process.getuid?.() === 0 ? 'user root;' : ''}
events { worker_connections 16384; }
http {
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on;
  keepalive_timeout 600s; keepalive_requests 100000000; large_client_header_buffers 8 32k;
  ${temporary.map((each) => `${each}_temp_path ${prefix}/${each};`).join(' ')}
  ${http}
}
`,
  );
  return launch({ name, place, port, command: ['nginx', '-p', prefix, '-c', file, '-e', 'stderr'] });
}

/** Starts the upstream API. */
export async function startUpstream(): Promise<Running> {
  const port = await freePort();
  const large = join(workFolder, 'large.bin');
  writeFileSync(large, '');
  truncateSync(large, largeBytes);
  const acknowledge = `unix:${workFolder}/acknowledge.sock`;
  // The POST location reads the whole body before it answers, as an API does: an answer to half a request makes every
  // client throw its connection away. Only a proxied location reads bodies, so it proxies to nginx itself.
  return startNginx(
    'upstream',
    'rest',
    port,
    `
  upstream acknowledge { server ${acknowledge}; keepalive 64; keepalive_requests 100000000; }
  server {
    listen ${acknowledge};
    location / { default_type application/json; return 200 '{"id":"8f14e45f-ceea-467f-a0c5-e6b1ffdb5d0c","state":"accepted"}'; }
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location = /v1/items { default_type application/json; return 200 '${itemsBody}'; }
    location = /v1/proven/items {
      if ($http_dpop = "") { return 401; }
      if ($http_authorization !~ "^DPoP ") { return 401; }
      default_type application/json; return 200 '${itemsBody}';
    }
    location = /v1/orders {
      client_body_buffer_size 64k;
      proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Content-Length "";
      proxy_pass_request_body off; proxy_pass_request_headers off; proxy_method GET;
      proxy_pass http://acknowledge;
    }
    location = /v1/large { default_type application/octet-stream; alias ${large}; }
    location = /status { stub_status; }
  }`,
  );
}

/** How many requests the upstream has served so far. */
export async function servedRequests(upstream: Running): Promise<number> {
  const { body } = await httpGet(`http://127.0.0.1:${upstream.port}/status`, { host: 'status' });
  const found = /^\s*\d+ \d+ (\d+)\s*$/m.exec(body);
  if (!found) throw new Error(`stub_status answered ${body}`);
  return Number(found[1]);
}
