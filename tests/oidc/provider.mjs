// A real OpenID provider for the end-to-end test: oidc-provider with an administrative call that
// ends everything one person holds. Loopback only; see README.md.
//
//   OIDC_ADMIN_TOKEN=... node provider.mjs [PORT] [--until-stdin-closes]

import { createHash, timingSafeEqual } from 'node:crypto';
import http from 'node:http';
import { Provider } from 'oidc-provider';
import { Memory } from './memory.mjs';
import { app, knows, password, resource } from './settings.mjs';

const BODY_BYTES_MAX = 4096;
const CALLS_MAX = 1000;

const port = Number(process.argv.slice(2).find((word) => !word.startsWith('--')) ?? 0);
const token = process.env.OIDC_ADMIN_TOKEN ?? '';
if (!Number.isInteger(port) || port < 0 || port > 65535 || token.length < 16) {
  console.error('usage: OIDC_ADMIN_TOKEN=<16 characters or more> node provider.mjs [PORT]');
  process.exit(2);
}

const memory = new Memory();
const calls = [];

const server = http.createServer();
server.listen(port, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = build(issuer);
  const protocol = provider.callback();
  server.on('request', (request, response) => {
    const path = new URL(request.url, issuer).pathname;
    const answer = path.startsWith('/admin/')
      ? admin(request, response, path)
      : path.startsWith('/interaction/')
        ? interaction(provider, request, response)
        : protocol(request, response);
    Promise.resolve(answer).catch((error) => {
      console.error(`${request.method} ${path}: ${error.message}`);
      if (!response.headersSent) json(response, 400, { error: error.message });
    });
  });
  console.log(`ready ${issuer}`);
});

const stop = () => process.exit(0);
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
if (process.argv.includes('--until-stdin-closes')) process.stdin.on('end', stop).resume();

function build(issuer) {
  return new Provider(issuer, {
    adapter: memory.adapter,
    clients: [
      {
        client_id: app.id,
        client_secret: app.secret,
        redirect_uris: [app.redirect],
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
      },
      {
        client_id: resource.id,
        client_secret: resource.secret,
        redirect_uris: [],
        grant_types: ['client_credentials'],
        response_types: [],
      },
    ],
    cookies: { keys: ['invented-cookie-key'] },
    interactions: { url: (ctx, details) => `/interaction/${details.uid}` },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: { enabled: true },
      revocation: { enabled: true },
    },
    ttl: {
      AccessToken: 3600,
      AuthorizationCode: 60,
      ClientCredentials: 600,
      Grant: 86400,
      IdToken: 3600,
      Interaction: 600,
      RefreshToken: 86400,
      Session: 86400,
    },
    async findAccount(ctx, id) {
      return knows(id) ? { accountId: id, claims: async () => ({ sub: id }) } : undefined;
    },
  });
}

// The sign-in and consent pages, as an application programming interface: GET says what is asked,
// POST answers it.
async function interaction(provider, request, response) {
  const details = await provider.interactionDetails(request, response);
  if (request.method === 'GET') {
    return json(response, 200, { prompt: details.prompt.name });
  }
  const form = new URLSearchParams(await body(request));
  if (details.prompt.name === 'login') {
    const sub = form.get('login') ?? '';
    if (!knows(sub) || !same(form.get('password') ?? '', password)) {
      return json(response, 401, { error: 'unknown name or wrong password' });
    }
    return provider.interactionFinished(request, response, { login: { accountId: sub } });
  }
  const grant = new provider.Grant({
    accountId: details.session.accountId,
    clientId: details.params.client_id,
  });
  grant.addOIDCScope(details.params.scope);
  const consent = { grantId: await grant.save() };
  return provider.interactionFinished(request, response, { consent });
}

// The administrator's calls. Each one that passed the token is kept, so that a test can count the
// calls that had an effect in the provider's own list.
async function admin(request, response, path) {
  const bearer = (request.headers.authorization ?? '').replace(/^Bearer /, '');
  if (!same(bearer, token)) return json(response, 401, { error: 'missing or wrong bearer token' });
  if (path === '/admin/calls' && request.method === 'GET') return json(response, 200, calls);

  const sub = decodeURIComponent(path.match(/^\/admin\/users\/([^/]+)\/sessions$/)?.[1] ?? '');
  let status = 200;
  let result;
  if (!knows(sub)) {
    status = 404;
    result = { error: 'no such user' };
  } else if (request.method === 'GET') {
    result = memory.sessions(sub);
  } else if (request.method === 'DELETE') {
    result = memory.end(sub);
  } else {
    status = 405;
    result = { error: 'use GET or DELETE' };
  }
  if (calls.length === CALLS_MAX) calls.shift();
  calls.push({ at: new Date().toISOString(), method: request.method, sub, status });
  return json(response, status, result);
}

async function body(request) {
  const parts = [];
  let bytes = 0;
  for await (const part of request) {
    bytes += part.length;
    if (bytes > BODY_BYTES_MAX) throw new Error('the form is too large');
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function json(response, status, value) {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(JSON.stringify(value));
}

function same(left, right) {
  const digest = (text) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(left), digest(right));
}
