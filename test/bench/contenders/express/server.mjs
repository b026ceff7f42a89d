/**
 * What a Node team would use instead of Sallyport: express-openid-connect for the session, http-proxy-middleware for
 * the API, as their READMEs show. Two kindnesses: keep-alive connections to the upstream, and no log.
 */
import { Agent } from 'node:http';

import express from 'express';
import oidc from 'express-openid-connect';
import { createProxyMiddleware } from 'http-proxy-middleware';

const { auth, requiresAuth } = oidc;
const { ISSUER, API, PORT } = process.env;

const app = express();
app.use(
  auth({
    issuerBaseURL: ISSUER,
    baseURL: `http://127.0.0.1:${PORT}`,
    clientID: 'sallyport-bench',
    clientSecret: 'bench-client-secret-of-decent-length',
    secret: 'a-long-random-string-of-the-session-cookie',
    authRequired: false,
    authorizationParams: { response_type: 'code', scope: 'openid profile email offline_access' },
  }),
);
app.get('/', (_request, response) => response.send('signed in'));
app.use(
  '/api',
  requiresAuth(),
  async (request, _response, next) => {
    if (request.oidc.accessToken.isExpired()) await request.oidc.accessToken.refresh();
    next();
  },
  createProxyMiddleware({
    target: `${API}/v1`,
    agent: new Agent({ keepAlive: true }),
    on: {
      proxyReq(upstream, request) {
        upstream.removeHeader('cookie');
        upstream.setHeader('authorization', `Bearer ${request.oidc.accessToken.access_token}`);
      },
    },
  }),
);
app.listen(Number(PORT), '127.0.0.1', 4096, () => console.log(`READY ${PORT}`));
