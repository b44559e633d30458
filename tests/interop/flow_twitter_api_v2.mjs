// The three-legged flow with the npm package twitter-api-v2, whose hosts are built in. `login()`
// sends oauth_token in the header and in the form.

import { TwitterApi } from "twitter-api-v2";

import { finish, job, sendPerson, verifierOf } from "./dialogue.mjs";
import "./tunnel.mjs";

const app = { appKey: job.consumer.key, appSecret: job.consumer.secret };
const begun = await new TwitterApi(app).generateAuthLink(job.callback, { linkMode: "authorize" });
const ended = await sendPerson(begun.url);
const asking = new TwitterApi({
  ...app,
  accessToken: begun.oauth_token,
  accessSecret: begun.oauth_token_secret,
});
const { client, accessToken, userId, screenName } = await asking.login(verifierOf(ended));
const answers = [];
for (const { path, body } of job.ask) {
  const url = `https://data-api.twitter.com${path}`;
  answers.push(await client.post(url, body, { forceBodyMode: "json" }));
}
const user = await client.v1.verifyCredentials();
const limits = await client.v1.rateLimitStatuses("account", "insights");
finish({ token: { key: accessToken }, owner: { userId, screenName }, user, limits, answers });
