// A real OpenID provider for integration tests: client-credentials JWT access tokens.
//
//   ALG=ES256 PORT=0 node provider.mjs
//
// stdout: `issuer http://127.0.0.1:<port>` once it listens, then `rotated` for each
// `rotate` line read from stdin. It exits when stdin closes, so it never outlives its test.
import { Console } from 'node:console';
import { generateKeyPairSync, randomBytes, webcrypto } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

const RSA = ['rsa', { modulusLength: 2048 }];
const KEY_TYPES = {
  RS256: RSA, RS384: RSA, RS512: RSA, PS256: RSA,
  ES256: ['ec', { namedCurve: 'P-256' }],
  ES384: ['ec', { namedCurve: 'P-384' }],
  EdDSA: ['ed25519'],
};

const { ALG = 'RS256', PORT = '0' } = process.env;
if (!Object.hasOwn(KEY_TYPES, ALG)) {
  console.error(`ALG=${ALG} is none of ${Object.keys(KEY_TYPES).join(', ')}`);
  process.exit(2);
}

// What oidc-provider uses and Node 18 lacks.
globalThis.crypto ??= webcrypto;
URL.parse ??= (url, base) => (URL.canParse(url, base) ? new URL(url, base) : null);

// oidc-provider logs its notices with console.info; keep stdout for the protocol above.
// The package is imported after that, because it already logs while it loads.
globalThis.console = new Console(process.stderr);
const { Provider } = await import('oidc-provider');
const say = (line) => process.stdout.write(`${line}\n`);

function freshKey() {
  const { privateKey } = generateKeyPairSync(...KEY_TYPES[ALG]);
  const kid = randomBytes(8).toString('hex');
  return { ...privateKey.export({ format: 'jwk' }), kid, alg: ALG, use: 'sig' };
}

function createProvider(issuer) {
  return new Provider(issuer, {
    jwks: { keys: [freshKey()] },
    // No ID token is issued here, but their algorithm must be one that the only key can serve
    // (by default the client's is RS256, and RS384, RS512 and ES384 are not enabled).
    enabledJWA: { idTokenSigningAlgValues: [ALG] },
    clients: [{
      client_id: 'ci',
      client_secret: 'secret',
      grant_types: ['client_credentials'],
      token_endpoint_auth_method: 'client_secret_basic',
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: ALG,
    }],
    scopes: ['publish', 'read'],
    ttl: { ClientCredentials: 600 },
    extraTokenClaims: () => ({ repository: 'acme/images', groups: ['release', 'ci'], verified: true }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, resource) => ({
          audience: resource,
          scope: 'publish read',
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: ALG } },
        }),
      },
    },
  });
}

const server = createServer().listen(Number(PORT), '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

// A provider's keys are fixed when it is created, so rotating means switching to a new one.
let handle = createProvider(issuer).callback();
server.on('request', (req, res) => handle(req, res));

createInterface({ input: process.stdin })
  .on('line', (line) => {
    if (line.trim() !== 'rotate') return;
    handle = createProvider(issuer).callback();
    say('rotated');
  })
  .on('close', () => process.exit());

say(`issuer ${issuer}`);
