// Sends a request to the real host of the data API, signed by the npm package oauth-1.0a.
//
// Proxy, certificate and credentials come from the environment, the body from standard input.

import { createHmac } from "node:crypto";
import https from "node:https";
import { json, text } from "node:stream/consumers";

import OAuth from "oauth-1.0a";

import "./tunnel.mjs";

const url = "https://data-api.twitter.com/insights/engagement/totals";

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
  https.request(url, { method: "POST", headers }, resolve).on("error", reject).end(body);
});
const refused = await new Promise((resolve) => {
  https.request("https://example.com/", () => resolve("reached"))
    .on("error", (error) => resolve(error.message)).end();
});
console.log(JSON.stringify({ status: answer.statusCode, body: await json(answer), refused }));
