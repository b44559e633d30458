// The three-legged flow with the npm package twitter-lite, whose hosts are built in. It sends
// oauth_callback, oauth_token and oauth_verifier in the header and in the query, and signs
// oauth/access_token without the token's secret.

import Twitter from "twitter-lite";

import { finish, job, sendPerson, verifierOf } from "./dialogue.mjs";
import "./tunnel.mjs";

const app = { consumer_key: job.consumer.key, consumer_secret: job.consumer.secret };
const asking = new Twitter(app);
const begun = await asking.getRequestToken(job.callback);
const { oauth_token } = begun;
const url = `https://api.twitter.com/oauth/authorize?oauth_token=${oauth_token}`;
const oauth_verifier = verifierOf(await sendPerson(url));
const issued = await asking.getAccessToken({ oauth_verifier, oauth_token });
const client = new Twitter({
  ...app,
  access_token_key: issued.oauth_token,
  access_token_secret: issued.oauth_token_secret,
});
const user = await client.get("account/verify_credentials");
const owner = { userId: issued.user_id, screenName: issued.screen_name };
const confirmed = begun.oauth_callback_confirmed;
finish({ token: { key: issued.oauth_token }, confirmed, owner, user, answers: [] });
