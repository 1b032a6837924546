// A third-party OpenID provider with a key for each algorithm. A line on standard input rotates them: new
// keys sign from then on, and the old ones are still published.
import http from "node:http";
import readline from "node:readline";
import { webcrypto } from "node:crypto";
import { Provider } from "oidc-provider";

const NODE = "e40efce4-38a3-46c4-a202-e8db95d0409c";
const ALGORITHMS = {
  RS256: { name: "RSASSA-PKCS1-v1_5", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" },
  PS256: { name: "RSA-PSS", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" },
  ES256: { name: "ECDSA", namedCurve: "P-256" },
  EdDSA: { name: "Ed25519" },
};

const server = http.createServer();
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

async function makeKeys(generation) {
  return Promise.all(
    Object.entries(ALGORITHMS).map(async ([alg, parameters]) => {
      const { privateKey } = await webcrypto.subtle.generateKey(parameters, true, ["sign", "verify"]);
      const { key_ops, ext, ...jwk } = await webcrypto.subtle.exportKey("jwk", privateKey);
      return { ...jwk, alg, use: "sig", kid: `${alg}-${generation}` };
    }),
  );
}

function provider(keys) {
  const instance = new Provider(issuer, {
    jwks: { keys },
    clients: Object.keys(ALGORITHMS).map((alg) => ({
      client_id: alg,
      client_secret: "secret",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    })),
    features: {
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (context, resource, client) => ({
          scope: "distributors:write",
          audience: resource,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: client.clientId } },
        }),
      },
    },
    extraTokenClaims: () => ({ node_id: NODE }),
    enabledJWA: { idTokenSigningAlgValues: Object.keys(ALGORITHMS) },
  });
  return instance.callback();
}

let generation = 1;
let keys = await makeKeys(generation);
let handle = provider(keys);
server.on("request", (request, response) => handle(request, response));
console.log(issuer);

for await (const _ of readline.createInterface({ input: process.stdin })) {
  generation += 1;
  // The first key for an algorithm signs.
  keys = [...(await makeKeys(generation)), ...keys];
  handle = provider(keys);
  console.log(`generation ${generation}`);
}
process.exit(0);
