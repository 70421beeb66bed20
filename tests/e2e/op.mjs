// The OpenID provider the browser tests sign in at: npm oidc-provider (certified) on loopback, with a journal and switches.
//
//   node op.mjs '{"port": 0, "issuer_host": "localhost", "redirect_uris": ["http://127.0.0.1/pywry-auth/callback"], "access_ttl": 3600}'
//
// Prints one JSON line {"ready": true, "issuer": …} and ends when its standard input does, that is with its parent.
//
//   GET    /__journal   what was asked, in order: [{at, method, path, status, client_id?, grant_type?, audience?, error?}], no secret;
//                       issued?, expires?: of an access token the start of its SHA-256, and its end in epoch seconds;
//                       and {at, method: "EVENT", path: "grant.revoked", status: 0} when a grant is revoked with all its tokens
//   GET    /__secrets   what it issued and was sent, by name: {"access_token": […], "user_code": […], "state": […], …}
//   DELETE /__journal   forgets both
//   GET    /__control   the switches (below, SWITCHES); POST merges JSON into them, DELETE puts them back
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import Provider, { errors } from 'oidc-provider';

const SWITCHES = {
  coop: null, //          Cross-Origin-Opener-Policy of every answer, such as "same-origin"
  access_ttl: 3600, //    seconds an access token lives
  refresh_tokens: true, // false: no refresh token is issued
  name: null, //          the person's display name; null: what was typed as the login
  picture: false, //      whether the person has one, at /__picture
  wrong_iss: false, //    the authorization response names another issuer (RFC 9207)
  deny_all: false, //     nobody is let in: access_denied instead of the login page
  offline: false, //      connections are cut; true, or a list of paths such as ["/token"]
  answers: {}, //         {"/token": {"status": 400, "body": {"error": "invalid_grant"}}}: said instead of the real answer
  prompts: null, //       prompt_values_supported in the metadata, such as ["login", "consent"]
  audiences: null, //     what tokens are exchanged for, such as ["api"]; null: for anything
  delays: {}, //          {"/token": 2.5}: seconds before the real answer
};
const REDIRECT_URIS = ['http://127.0.0.1/pywry-auth/callback'];
const options = { port: 0, issuer_host: 'localhost', redirect_uris: REDIRECT_URIS, ...JSON.parse(process.argv[2] ?? '{}') };
const { port: wantedPort, issuer_host, redirect_uris, ...initial } = options;

let switches;
const setSwitches = (change) => {
  const unknown = Object.keys(change).filter((key) => !(key in SWITCHES));
  if (unknown.length) throw new RangeError(`no such switch: ${unknown}`);
  switches = { ...switches, ...change };
};
const resetSwitches = () => {
  switches = { ...SWITCHES };
  setSwitches(initial);
};
resetSwitches();

// ---- the journal ------------------------------------------------------------------------------------------------------

let journal = [];
let secrets = {};
const placeOf = (path) => path.replace(/^\/(auth|interaction|device)\/(?!auth$)[^/]+/, '/$1/:uid');

const errorOf = (ctx) => {
  const location = ctx.response.get('location');
  return ctx.body?.error ?? (location && new URL(location, issuer).searchParams.get('error')) ?? undefined;
};

const issuedBy = async (ctx) => {
  const token = ctx.body?.access_token;
  if (typeof token !== 'string') return {};
  const issued = createHash('sha256').update(token).digest('hex').slice(0, 16);
  return { issued, expires: (await provider.AccessToken.find(token))?.exp };
};

const record = (ctx, status, issued) => {
  const asked = ctx.oidc?.params ?? {};
  const { client_id, grant_type, audience } = asked;
  const at = Date.now() / 1000;
  journal.push({ at, method: ctx.method, path: placeOf(ctx.path), status, client_id, grant_type, audience, error: errorOf(ctx), ...issued });
};

const SECRETS = [
  ...['access_token', 'refresh_token', 'id_token', 'device_code', 'user_code'],
  ...['code', 'state', 'nonce', 'code_challenge', 'code_verifier'],
];
const remember = (values) => {
  for (const name of SECRETS) if (values?.[name]) secrets[name] = [...new Set([...(secrets[name] ?? []), values[name]])];
};

const keepSecrets = async (ctx, next) => {
  await next();
  const location = ctx.response.get('location');
  for (const values of [ctx.oidc?.params, ctx.body, location && Object.fromEntries(new URL(location, issuer).searchParams)]) remember(values);
};

const keepJournal = async (ctx, next) => {
  await next();
  record(ctx, ctx.status, await issuedBy(ctx));
};

// ---- the switches -----------------------------------------------------------------------------------------------------

const isOffline = (path) => (Array.isArray(switches.offline) ? switches.offline.includes(path) : switches.offline);

const misbehave = async (ctx, next) => {
  if (switches.delays[ctx.path]) await sleep(switches.delays[ctx.path] * 1000);
  const canned = switches.answers[ctx.path];
  if (!canned) return next();
  ctx.status = canned.status ?? 200;
  ctx.body = canned.body ?? {};
};

const denyAll = async (ctx, next) => {
  const isPage = ctx.method === 'GET' && /^\/interaction\/[^/]+$/.test(ctx.path);
  return switches.deny_all && isPage ? ctx.redirect(`${ctx.path}/abort`) : next();
};

const nameAnotherIssuer = async (ctx, next) => {
  await next();
  const location = ctx.response.get('location');
  if (!switches.wrong_iss || !location) return;
  const url = new URL(location, issuer);
  if (!url.searchParams.has('iss')) return;
  url.searchParams.set('iss', 'https://issuer.invalid');
  ctx.set('location', url.href);
};

const listPrompts = async (ctx, next) => {
  await next();
  const isMetadata = ctx.path === '/.well-known/openid-configuration';
  if (switches.prompts && isMetadata) ctx.body = { ...ctx.body, prompt_values_supported: switches.prompts };
};

const severOpener = async (ctx, next) => {
  await next();
  if (switches.coop) ctx.set('Cross-Origin-Opener-Policy', switches.coop);
};

// ---- the tests' own endpoints -----------------------------------------------------------------------------------------

const bodyOf = async (req) => {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString() || '{}');
};

const BACKSTAGE = {
  'GET /__journal': () => journal,
  'GET /__secrets': () => secrets,
  'DELETE /__journal': () => ((secrets = {}), (journal = [])),
  'GET /__control': () => switches,
  'POST /__control': async (req) => (setSwitches(await bodyOf(req)), switches),
  'DELETE /__control': () => (resetSwitches(), switches),
};

const backstage = async (req, res) => {
  const answer = BACKSTAGE[`${req.method} ${req.url}`] ?? (() => Promise.reject(new RangeError('no such thing')));
  try {
    const said = JSON.stringify(await answer(req));
    res.writeHead(200, { 'content-type': 'application/json' }).end(said);
  } catch (error) {
    res.writeHead(400, { 'content-type': 'text/plain' }).end(error.message);
  }
};

// ---- the provider -----------------------------------------------------------------------------------------------------

const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code';
// "native": a loopback redirect URI matches on any port (RFC 8252 §7.3).
const client = { application_type: 'native', redirect_uris, post_logout_redirect_uris: redirect_uris, response_types: ['code'] };
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const grant_types = ['authorization_code', 'refresh_token', DEVICE_CODE, TOKEN_EXCHANGE];
const clients = [
  { ...client, grant_types, client_id: 'pywry', token_endpoint_auth_method: 'none' },
  {
    ...client, grant_types, client_id: 'pywry-conf', token_endpoint_auth_method: 'client_secret_basic',
    client_secret: 'a-secret-that-only-these-tests-use',
  },
  // For https on loopback, where a native client may not be.
  { ...client, grant_types, client_id: 'pywry-web', application_type: 'web', token_endpoint_auth_method: 'none' },
];

// One dot.
const PICTURE = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64');
const findAccount = async (_ctx, sub) => ({
  accountId: sub,
  claims: async () => ({
    sub, picture: switches.picture ? `${issuer}/__picture` : undefined, name: switches.name ?? sub, preferred_username: sub, email: `${sub}@example.com`, email_verified: true,
  }),
});

const server = createServer();
await new Promise((resolve) => server.listen(wantedPort, '127.0.0.1', resolve));
const issuer = `http://${issuer_host}:${server.address().port}`;
const provider = new Provider(issuer, {
  clients,
  findAccount,
  pkce: { required: () => true },
  scopes: ['openid', 'offline_access', 'profile', 'email', 'files.read'],
  acrValues: ['phr'],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'picture', 'preferred_username'] },
  issueRefreshToken: async (_ctx, asking, code) =>
    switches.refresh_tokens && asking.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
  rotateRefreshToken: true,
  cookies: { keys: ['loopback-only'] },
  features: {
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    rpInitiatedLogout: { enabled: true },
  },
  ttl: {
    AccessToken: () => switches.access_ttl,
    AuthorizationCode: 60, DeviceCode: 600, Grant: 86400, IdToken: 3600, Interaction: 3600, RefreshToken: 86400, Session: 86400,
  },
});

// RFC 8693: an access token of the same user and the same grant, so that it ends with the sign-in.
const exchange = async (ctx) => {
  const { params, client } = ctx.oidc;
  const { accountId, grantId, scope } = (await provider.AccessToken.find(params.subject_token)) ?? {};
  if (!accountId) throw new errors.InvalidRequest('subject_token is not a token of ours');
  if (switches.audiences && !switches.audiences.includes(params.audience)) throw new errors.InvalidTarget('there is no such API');
  const token = new provider.AccessToken({ accountId, client, grantId, gty: 'token_exchange', scope: params.scope ?? scope });
  ctx.body = {
    access_token: await token.save(), expires_in: token.expiration, scope: token.scope, token_type: 'Bearer',
    issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
  };
};
const parameters = ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'resource', 'scope'];
provider.registerGrantType(TOKEN_EXCHANGE, exchange, parameters, ['audience', 'resource']);

for (const middleware of [keepJournal, keepSecrets, severOpener, nameAnotherIssuer, listPrompts, denyAll, misbehave]) provider.use(middleware);
provider.on('grant.revoked', () => journal.push({ at: Date.now() / 1000, method: 'EVENT', path: 'grant.revoked', status: 0 }));
provider.on('server_error', (_ctx, error) => console.error('server_error', error));

const answer = provider.callback();
server.on('request', (req, res) => {
  const { pathname } = new URL(req.url, issuer);
  if (pathname === '/__picture') return res.writeHead(200, { 'content-type': 'image/png' }).end(PICTURE);
  if (pathname.startsWith('/__')) return backstage(req, res);
  if (!isOffline(pathname)) return answer(req, res);
  journal.push({ at: Date.now() / 1000, method: req.method, path: placeOf(pathname), status: 0, error: 'offline' });
  return req.socket.destroy();
});

process.on('SIGTERM', () => process.exit(0));
process.stdin.on('end', () => process.exit(0)).resume();
console.log(JSON.stringify({ ready: true, issuer }));
