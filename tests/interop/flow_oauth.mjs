// The three-legged flow with the npm package oauth, which signs and sends. The job's version is the
// package's name for the protocol's revision, "1.0A" in its own examples.

import { OAuth } from "oauth";

import { finish, job, sendPerson, verifierOf } from "./dialogue.mjs";

const client = new OAuth(
  job.at.request_token,
  job.at.access_token,
  job.consumer.key,
  job.consumer.secret,
  job.version,
  job.callback,
  "HMAC-SHA1",
);

// Its callbacks take (error, ...results); a promise of the results.
const call = (method, ...rest) =>
  new Promise((resolve, reject) => {
    client[method](...rest, (error, ...results) =>
      error ? reject(new Error(JSON.stringify(error))) : resolve(results),
    );
  });

const [requestKey, requestSecret, confirmed] = await call("getOAuthRequestToken");
const ended = await sendPerson(`${job.at.authorize}?oauth_token=${requestKey}`);
const [key, secret, owner] = await call(
  "getOAuthAccessToken",
  requestKey,
  requestSecret,
  verifierOf(ended),
);

const answers = [];
for (const { url, body } of job.ask) {
  const [text] = await call("post", url, key, secret, JSON.stringify(body), "application/json");
  answers.push(JSON.parse(text));
}
const [profile] = await call("get", job.at.verify_credentials, key, secret);
finish({ token: { key, secret }, confirmed, owner, user: JSON.parse(profile), answers });
