// The three-legged flow with the npm package oauth-1.0a, which signs, and node's fetch, which sends.
// The job's `place` says where its parameters go: "header", "query" or, where there is one, "form".

import { createHmac } from "node:crypto";

import OAuth from "oauth-1.0a";

import { finish, job, sendPerson, verifierOf } from "./dialogue.mjs";

const oauth = OAuth({
  consumer: job.consumer,
  signature_method: "HMAC-SHA1",
  hash_function: (base, key) => createHmac("sha1", key).update(base).digest("base64"),
});

async function send(method, url, { token, more = {}, json } = {}) {
  // Returns what is signed, with `more`.
  const signed = oauth.authorize({ url, method, data: more }, token);
  const headers = json ? { "Content-Type": "application/json" } : {};
  let body = json && JSON.stringify(json);
  if (job.place === "query") {
    url += `?${new URLSearchParams(signed)}`;
  } else if (job.place === "form" && method === "POST" && !json) {
    body = new URLSearchParams(signed);
  } else {
    Object.assign(headers, oauth.toHeader(signed));
  }
  const answer = await fetch(url, { method, headers, body });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${answer.status} ${text}`);
  return text;
}

const tokenOf = (text) => {
  const fields = new URLSearchParams(text);
  return { key: fields.get("oauth_token"), secret: fields.get("oauth_token_secret") };
};

const begun = await send("POST", job.at.request_token, { more: { oauth_callback: job.callback } });
const request = tokenOf(begun);
const ended = await sendPerson(`${job.at.authorize}?oauth_token=${request.key}`);
const more = { oauth_verifier: verifierOf(ended) };
const token = tokenOf(await send("POST", job.at.access_token, { token: request, more }));

const answers = [];
for (const { url, body } of job.ask) {
  answers.push(JSON.parse(await send("POST", url, { token, json: body })));
}
const user = JSON.parse(await send("GET", job.at.verify_credentials, { token }));
finish({ token, user, answers });
