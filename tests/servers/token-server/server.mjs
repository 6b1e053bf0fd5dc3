// A private OpenID provider for the tests: oidc-provider with everything left as it comes, refresh tokens that rotate
// at every use, and a reused one ending the whole grant. Nothing here decides about a token; the paths under /control
// let a test look and revoke.

import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { pathToFileURL } from 'node:url';

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const { default: Provider } = await import(pathToFileURL(`${settings.modules}/oidc-provider/lib/index.js`));

const provider = new Provider(settings.issuer, {
  clients: settings.clients,
  cookies: { keys: ['only for tests'] },
  scopes: ['openid', 'offline_access', 'mail'],
  // The account is the mailbox's address; a service's token names the domain it may open.
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  extraTokenClaims: (ctx, token) =>
    token.accountId
      ? { login: token.accountId, organization: '-' }
      : { login: '-', organization: `all@${ctx.oidc.client.clientName}` },
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    devInteractions: { enabled: true },
  },
  pkce: { methods: ['S256'], required: () => true },
  rotateRefreshToken: true,
  ttl: {
    AccessToken: settings.accessTokenSeconds,
    ClientCredentials: settings.accessTokenSeconds,
    RefreshToken: 86400,
    Grant: 86400,
    Interaction: 3600,
    Session: 3600,
  },
});

const grants = new Map();
const accessTokens = new Map();
provider.on('access_token.saved', (token) => {
  accessTokens.set(token.accountId, [...(accessTokens.get(token.accountId) ?? []), token]);
});
const counts = { token: 0, granted: 0, refused: 0 };
provider.on('grant.saved', (grant) => grants.set(grant.jti, grant.accountId));
provider.on('grant.success', () => { counts.granted += 1; });
provider.on('grant.error', (_, error) => { counts.refused += 1; console.log(`refused: ${error.error} ${error.error_detail ?? ''}`); });

async function control(path) {
  const account = path.searchParams.get('account');
  const of = [...grants].filter(([, owner]) => owner === account).map(([id]) => id);
  switch (path.pathname) {
    case '/control/counts': return counts;
    // The mail server will not take the present access token any more; the grant stands.
    case '/control/forget-access-tokens':
      for (const token of accessTokens.get(account) ?? []) await token.destroy();
      return of.length;
    // As when a person withdraws the consent.
    case '/control/revoke':
      for (const id of of) {
        await provider.AccessToken.revokeByGrantId(id);
        await provider.RefreshToken.revokeByGrantId(id);
        const grant = await provider.Grant.find(id, { ignoreExpiration: true });
        if (grant) await grant.destroy();
      }
      return of.length;
    default: return null;
  }
}

const callback = provider.callback();
let delay = 0;
async function answer(request, response) {
  const path = new URL(request.url, settings.issuer);
  if (path.pathname === '/control/delay') {
    delay = Number(path.searchParams.get('millis'));
    response.end('null');
  } else if (path.pathname.startsWith('/control/')) {
    response.end(JSON.stringify(await control(path)));
  } else {
    if (path.pathname === '/token') {
      counts.token += 1;
      if (delay) await new Promise((done) => setTimeout(done, delay));
    }
    callback(request, response);
  }
}

const tls = { cert: readFileSync('certificate.pem'), key: readFileSync('key.pem') };
https.createServer(tls, answer).listen(settings.port, '127.0.0.1');
// For mail servers on the same machine that ask about a token.
http.createServer(answer).listen(settings.introspectionPort, '127.0.0.1');
