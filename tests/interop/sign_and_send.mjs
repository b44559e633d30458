// Signs one request with the npm package oauth-1.0a and sends it with node's own HTTP.
//
// Reads a job as JSON on standard input and prints the answer as JSON:
//   url, method, consumer {key, secret}, token {key, secret} or null,
//   place: "header", "query" or "form"; form: fields, or json: a body; bodyHash: true to add its hash;
//   through: "fetch" or "http"

import { createHash, createHmac } from "node:crypto";
import { request } from "node:http";
import { gunzipSync } from "node:zlib";
import { text } from "node:stream/consumers";

import OAuth from "oauth-1.0a";

const job = JSON.parse(await text(process.stdin));

const oauth = OAuth({
  consumer: job.consumer,
  signature_method: "HMAC-SHA1",
  hash_function: (base, key) => createHmac("sha1", key).update(base).digest("base64"),
  body_hash_function: (data) => createHash("sha1").update(data).digest("base64"),
});

// Percent-encoding as the package itself does it for the base string.
const encoded = (fields) =>
  Object.entries(fields)
    .map(([name, value]) => `${oauth.percentEncode(name)}=${oauth.percentEncode(value)}`)
    .join("&");

const body = job.form ? encoded(job.form) : JSON.stringify(job.json);
const signed = oauth.authorize(
  {
    url: job.url,
    method: job.method,
    data: job.form ?? (job.bodyHash ? body : {}),
    includeBodyHash: job.bodyHash ?? false,
  },
  job.token ?? undefined,
);
const protocol = Object.fromEntries(
  Object.entries(signed).filter(([name]) => name.startsWith("oauth_")),
);

const headers = {
  "Content-Type": job.form ? "application/x-www-form-urlencoded" : "application/json",
  "Accept-Encoding": "gzip",
};
let url = job.url;
let sent = body;
if (job.place === "header") {
  Object.assign(headers, oauth.toHeader(protocol));
} else if (job.place === "query") {
  url += (url.includes("?") ? "&" : "?") + encoded(protocol);
} else {
  sent = [body, encoded(protocol)].filter(Boolean).join("&");
}

async function throughFetch() {
  const answer = await fetch(url, { method: job.method, headers, body: sent });
  return { status: answer.status, body: await answer.text() };
}

function throughHttp() {
  return new Promise((resolve, reject) => {
    const sending = request(url, { method: job.method, headers }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("end", () => {
        // Decompress before reading the status, as real clients do.
        const unpacked = gunzipSync(Buffer.concat(parts)).toString();
        resolve({ status: answer.statusCode, body: unpacked });
      });
    });
    sending.on("error", reject);
    sending.end(sent);
  });
}

console.log(JSON.stringify(await (job.through === "http" ? throughHttp() : throughFetch())));
