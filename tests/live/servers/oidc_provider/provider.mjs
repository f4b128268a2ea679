// An OpenID provider for machines: the client credentials grant (RFC 6749, section 4.4).
//
// node provider.mjs FOLDER CONFIGURATION, where FOLDER has node_modules/oidc-provider, and
// CONFIGURATION is a JSON file that oidc.py writes.

import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, file] = process.argv.slice(2);
const settings = JSON.parse(readFileSync(file, 'utf8'));
const entry = path.join(folder, 'node_modules', 'oidc-provider', 'lib', 'index.js');
const { default: Provider } = await import(pathToFileURL(entry).href);

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const key = { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: 'tests' };

const provider = new Provider(settings.issuer, {
  clients: settings.clients,
  jwks: { keys: [key] },
  scopes: settings.scopes,
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => settings.audience,
      getResourceServerInfo: () => ({
        scope: settings.scopes.join(' '),
        audience: settings.audience,
        accessTokenFormat: settings.format,
        accessTokenTTL: settings.seconds,
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});
provider.use(async (context, next) => {
  await next();
  console.log(`${context.method} ${context.path} ${context.status}`);
});

const handler = provider.callback();
const server = settings.certificate
  ? https.createServer(
    { cert: readFileSync(settings.certificate), key: readFileSync(settings.key) }, handler)
  : http.createServer(handler);
server.listen(settings.port, '127.0.0.1', () => console.log('the provider listens'));
