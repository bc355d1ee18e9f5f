// What a person's browser, an application and a resource do at the provider, one step per call and
// one line of JSON on standard output. See README.md.
//
//   OIDC_ISSUER=http://127.0.0.1:PORT node flow.mjs login SUB
//   OIDC_ISSUER=... node flow.mjs silent COOKIE
//   OIDC_ISSUER=... node flow.mjs introspect TOKEN
//   OIDC_ISSUER=... node flow.mjs refresh TOKEN

import { createHash, randomBytes } from 'node:crypto';
import { app, basic, password, resource } from './settings.mjs';

const HOPS_MAX = 12;
const TIMEOUT_MS = 10_000;

const [command, argument] = process.argv.slice(2);
const commands = { login, silent, introspect, refresh };
const issuer = process.env.OIDC_ISSUER;
if (!issuer || !argument || !Object.hasOwn(commands, command)) {
  console.error('usage: OIDC_ISSUER=URL node flow.mjs login|silent|introspect|refresh ARGUMENT');
  process.exit(2);
}
try {
  console.log(JSON.stringify(await commands[command](argument)));
} catch (error) {
  console.error(`${command} failed: ${error.message}`);
  process.exit(1);
}

// Signs in with a password, consents, and exchanges the code for tokens.
async function login(sub) {
  const jar = new Map();
  const verifier = randomBytes(32).toString('base64url');
  const callback = await authorize(jar, verifier, { prompt: 'consent' }, sub);
  const code = callback.get('code');
  if (!code) throw new Error(`no code: ${callback}`);
  const answer = await post('/token', app, {
    grant_type: 'authorization_code',
    code,
    code_verifier: verifier,
    redirect_uri: app.redirect,
  });
  const tokens = await answer.json();
  if (!tokens.access_token || !tokens.refresh_token) throw new Error(JSON.stringify(tokens));
  return {
    sub,
    access_token: tokens.access_token,
    refresh_token: tokens.refresh_token,
    cookie: cookies(jar),
  };
}

// Asks for a code without any page, as an open browser does; only a live session gives one.
async function silent(cookie) {
  const jar = new Map(cookie.split('; ').map((pair) => split(pair)));
  const verifier = randomBytes(32).toString('base64url');
  const callback = await authorize(jar, verifier, { prompt: 'none' });
  return { signed_in: callback.has('code'), error: callback.get('error') };
}

// Asks as the resource whether a token is still good.
async function introspect(token) {
  const answer = await post('/token/introspection', resource, { token });
  if (answer.status !== 200) throw new Error(`introspection answered ${answer.status}`);
  return answer.json();
}

// Uses a refresh token as the application would, and says how the provider answered.
async function refresh(token) {
  const answer = await post('/token', app, { grant_type: 'refresh_token', refresh_token: token });
  const { error, access_token, refresh_token } = await answer.json();
  return { status: answer.status, error, access_token, refresh_token };
}

// Follows the redirects of one authorization request up to the application's callback.
async function authorize(jar, verifier, extra, sub) {
  const query = new URLSearchParams({
    client_id: app.id,
    response_type: 'code',
    redirect_uri: app.redirect,
    scope: 'openid offline_access',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...extra,
  });
  let url = `${issuer}/auth?${query}`;
  for (let hop = 0; hop < HOPS_MAX; hop += 1) {
    if (url.startsWith(`${app.redirect}?`)) return new URL(url).searchParams;
    let answer = await browse(jar, url);
    if (answer.status === 200) {
      const { prompt } = await answer.json();
      const form = prompt === 'login' ? { login: sub, password } : { consent: 'yes' };
      answer = await browse(jar, url, { method: 'POST', body: new URLSearchParams(form) });
    }
    const next = answer.headers.get('location');
    if (!next) throw new Error(`${answer.status} without a redirect: ${await answer.text()}`);
    url = new URL(next, url).href;
  }
  throw new Error(`more than ${HOPS_MAX} redirects`);
}

async function browse(jar, url, options = {}) {
  const answer = await fetch(url, {
    redirect: 'manual',
    signal: AbortSignal.timeout(TIMEOUT_MS),
    headers: { cookie: cookies(jar) },
    ...options,
  });
  for (const line of answer.headers.getSetCookie()) {
    const [name, value] = split(line.split(';')[0]);
    if (value) jar.set(name, value);
    else jar.delete(name);
  }
  return answer;
}

function post(path, client, form) {
  return fetch(issuer + path, {
    method: 'POST',
    signal: AbortSignal.timeout(TIMEOUT_MS),
    headers: { authorization: basic(client) },
    body: new URLSearchParams(form),
  });
}

function cookies(jar) {
  return [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
}

function split(pair) {
  const at = pair.indexOf('=');
  return [pair.slice(0, at), pair.slice(at + 1)];
}
