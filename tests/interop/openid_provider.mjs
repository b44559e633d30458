// npm's oidc-provider, as a platform might run it. It accepts any login, which names the account.
// Takes one line of JSON: port, issuer, redirectUris, secret, way (of client authentication), alg.

import { generateKeyPairSync } from "node:crypto";
import { createInterface } from "node:readline";
import { Provider } from "oidc-provider";

const KINDS = {
  RS256: ["rsa", { modulusLength: 2048 }],
  ES256: ["ec", { namedCurve: "P-256" }],
  EdDSA: ["ed25519", {}],
};

createInterface({ input: process.stdin }).once("line", (line) => {
  const { port, issuer, redirectUris, secret, way, alg } = JSON.parse(line);
  const keys = Object.entries(KINDS).map(([kind, [type, options]]) => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: "jwk" }),
    kid: kind,
    use: "sig",
  }));
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: "engagement",
        client_secret: secret,
        redirect_uris: redirectUris,
        token_endpoint_auth_method: way,
        id_token_signed_response_alg: alg,
      },
    ],
    claims: { openid: ["sub"], profile: ["preferred_username"] },
    clientAuthMethods: [way],
    cookies: { keys: ["made up"] },
    enabledJWA: { idTokenSigningAlgValues: Object.keys(KINDS) },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id }),
    }),
    jwks: { keys },
    pkce: { required: () => true },
  });
  provider.listen(port, "127.0.0.1", () => console.log("ready"));
});
// It ends with the process that started it.
process.stdin.on("end", () => process.exit(0));
