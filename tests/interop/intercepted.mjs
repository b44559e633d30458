// Sends a request to the real host of the data API, signed by the npm package oauth-1.0a.
//
// Proxy, certificate and credentials come from the environment, the body from standard input.
// Since Node 24 the environment is enough. Older clients need an agent, as here.

import { createHmac } from "node:crypto";
import http from "node:http";
import https from "node:https";
import tls from "node:tls";
import { json, text } from "node:stream/consumers";

import OAuth from "oauth-1.0a";

const url = "https://data-api.twitter.com/insights/engagement/totals";

class TunnelAgent extends https.Agent {
  createConnection(options, done) {
    const { hostname, port } = new URL(process.env.HTTPS_PROXY);
    const path = `${options.host}:${options.port}`;
    const asking = http.request({ agent: false, hostname, port, method: "CONNECT", path });
    asking.on("error", done);
    asking.on("connect", (answer, socket) => {
      if (answer.statusCode !== 200) return done(new Error(answer.statusMessage));
      done(null, tls.connect({ ...options, socket, servername: options.host }));
    });
    asking.end();
  }
}

const knowsTheEnvironment = Number.parseInt(process.versions.node, 10) >= 24;
const agent = knowsTheEnvironment ? https.globalAgent : new TunnelAgent();

const oauth = OAuth({
  consumer: { key: process.env.CONSUMER_KEY, secret: process.env.CONSUMER_SECRET },
  signature_method: "HMAC-SHA1",
  hash_function: (base, key) => createHmac("sha1", key).update(base).digest("base64"),
});
const token = { key: process.env.ACCESS_TOKEN, secret: process.env.ACCESS_TOKEN_SECRET };
const signature = oauth.toHeader(oauth.authorize({ url, method: "POST" }, token));

const body = await text(process.stdin);
const headers = { "Content-Type": "application/json", ...signature };
const answer = await new Promise((resolve, reject) => {
  https.request(url, { agent, method: "POST", headers }, resolve).on("error", reject).end(body);
});
const refused = await new Promise((resolve) => {
  https.request("https://example.com/", { agent }, () => resolve("reached"))
    .on("error", (error) => resolve(error.message)).end();
});
console.log(JSON.stringify({ status: answer.statusCode, body: await json(answer), refused }));
