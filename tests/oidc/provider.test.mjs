// The provider by itself: what Quell's end-to-end test relies on must hold without Quell.
//
//   node --test provider.test.mjs

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const run = promisify(execFile);
const token = 'invented-administrator-token';
let issuer;
let provider;

before(async () => {
  provider = spawn(process.execPath, [here('provider.mjs'), '0', '--until-stdin-closes'], {
    env: { ...process.env, OIDC_ADMIN_TOKEN: token },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  for await (const line of createInterface({ input: provider.stdout })) {
    issuer = line.match(/^ready (http:\S+)$/)?.[1];
    if (issuer) break;
  }
  assert.ok(issuer, 'the provider says where it listens');
});

after(() => provider.stdin.end());

async function flow(...words) {
  const env = { ...process.env, OIDC_ISSUER: issuer };
  const { stdout } = await run(process.execPath, [here('flow.mjs'), ...words], { env });
  return JSON.parse(stdout);
}

function admin(method, path, bearer = token) {
  return fetch(issuer + path, { method, headers: { authorization: `Bearer ${bearer}` } });
}

const sessions = (sub) => `/admin/users/${encodeURIComponent(sub)}/sessions`;

test('a signed-in person loses everything at once, and nobody else does', async () => {
  const ana = await flow('login', 'ana@example.com');
  const bo = await flow('login', 'bo@example.com');
  assert.equal((await flow('introspect', ana.access_token)).active, true);
  assert.equal((await flow('introspect', ana.access_token)).sub, 'ana@example.com');
  assert.equal((await flow('silent', ana.cookie)).signed_in, true);
  const listed = await (await admin('GET', sessions('ana@example.com'))).json();
  assert.equal(listed.length, 1);
  assert.deepEqual(listed[0].clients, ['mailapp']);

  const ended = await admin('DELETE', sessions('ana@example.com'));
  assert.equal(ended.status, 200);
  const counts = await ended.json();
  assert.equal(counts.sessions, 1);
  assert.ok(counts.grants >= 1 && counts.tokens >= 2, JSON.stringify(counts));

  assert.equal((await flow('introspect', ana.access_token)).active, false);
  assert.equal((await flow('introspect', ana.refresh_token)).active, false);
  assert.equal((await flow('refresh', ana.refresh_token)).status, 400);
  assert.deepEqual(await flow('silent', ana.cookie), { signed_in: false, error: 'login_required' });
  assert.deepEqual(await (await admin('GET', sessions('ana@example.com'))).json(), []);

  assert.equal((await flow('introspect', bo.access_token)).active, true);
  assert.equal((await flow('silent', bo.cookie)).signed_in, true);
  assert.equal((await flow('refresh', bo.refresh_token)).status, 200);
});

test('ending again changes nothing, and the person can sign in again', async () => {
  await flow('login', 'cy@example.com');
  assert.equal((await (await admin('DELETE', sessions('cy@example.com'))).json()).sessions, 1);
  const again = await (await admin('DELETE', sessions('cy@example.com'))).json();
  assert.deepEqual(again, { sessions: 0, grants: 0, tokens: 0 });
  const back = await flow('login', 'cy@example.com');
  assert.equal((await flow('introspect', back.access_token)).active, true);
  const calls = await (await admin('GET', '/admin/calls')).json();
  const deletes = calls.filter((call) => call.method === 'DELETE' && call.sub === 'cy@example.com');
  assert.equal(deletes.length, 2);
});

test('the administrative calls need the token and a known subject', async () => {
  const dee = await flow('login', 'dee@example.com');
  const path = sessions('dee@example.com');
  assert.equal((await admin('DELETE', path, 'another-token-of-length')).status, 401);
  assert.equal((await fetch(issuer + path)).status, 401);
  assert.equal((await admin('GET', '/admin/calls', '')).status, 401);
  assert.equal((await admin('POST', path)).status, 405);
  assert.equal((await admin('DELETE', sessions('../dee'))).status, 404);
  assert.equal((await admin('DELETE', '/admin/users/%E0/sessions')).status, 400);
  assert.equal((await flow('introspect', dee.access_token)).active, true);
});

test('a wrong password and a garbage token are refused', async () => {
  const env = { ...process.env, OIDC_ISSUER: issuer, OIDC_PASSWORD: 'another-password' };
  const failed = run(process.execPath, [here('flow.mjs'), 'login', 'eva@example.com'], { env });
  await assert.rejects(failed, /401/);
  assert.deepEqual(await flow('introspect', 'garbage'), { active: false });
  assert.equal((await flow('refresh', 'garbage')).status, 400);
});
