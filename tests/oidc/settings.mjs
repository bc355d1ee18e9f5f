// The names that the provider and the test driver share. All of them are invented; the provider
// listens on loopback only, so that none of them opens anything elsewhere.

// The application that people sign in to.
export const app = {
  id: 'mailapp',
  secret: 'invented-mailapp-secret',
  redirect: 'http://127.0.0.1/callback',
};

// The resource that asks whether a token is still good; Quell's read-back uses it as well.
export const resource = { id: 'resource', secret: 'invented-resource-secret' };

// What every person of the provider types; OIDC_PASSWORD changes it for both sides.
export const password = process.env.OIDC_PASSWORD ?? 'invented-password';

// Subjects that may sign in: a short name or an address of an example domain.
export const knows = (sub) =>
  /^[a-z0-9][a-z0-9._-]{0,63}(@example\.(com|net|org))?$/i.test(sub);

// How a client proves itself at the token and introspection endpoints (RFC 6749, section 2.3.1).
export const basic = (client) =>
  'Basic ' + Buffer.from(`${client.id}:${client.secret}`).toString('base64');
