// Sign-in with the npm package passport-twitter: its strategy, called as a framework does.
//
// The strategy gets its request token, redirects, takes the callback, fetches the access token and
// then the profile. The job's `sign_in` has the strategy's options for the redirect.

import { Strategy } from "passport-twitter";

import { finish, job, sendPerson } from "./dialogue.mjs";

const strategy = new Strategy(
  {
    consumerKey: job.consumer.key,
    consumerSecret: job.consumer.secret,
    callbackURL: job.callback,
    requestTokenURL: job.at.request_token,
    accessTokenURL: job.at.access_token,
    userAuthorizationURL: job.at.authenticate,
    userProfileURL: job.at.verify_credentials,
    includeEntities: false,
    includeStatus: false,
  },
  (key, secret, owner, profile, done) => done(null, { token: { key, secret }, owner, profile }),
);

const session = {};

// One request of the person's browser to the app. Resolves to the strategy's decision.
function visit(url, options) {
  const query = Object.fromEntries(new URL(url).searchParams);
  return new Promise((resolve, reject) => {
    const visitor = Object.create(strategy);
    visitor.redirect = (target) => resolve({ redirect: target });
    visitor.success = (user) => resolve({ user });
    visitor.fail = () => resolve({ failed: true });
    visitor.error = reject;
    visitor.authenticate({ url, query, session, headers: {} }, options);
  });
}

const app = new URL(job.callback).origin;
const { redirect } = await visit(`${app}/login`, job.sign_in);
const { callback } = await sendPerson(redirect);
const { user, failed } = await visit(callback);
if (failed) finish({ failed });
const { token, owner, profile } = user;
const { id, username, _json, _accessLevel } = profile;
finish({ token, owner, user: _json, access_level: _accessLevel, profile: { id, username } });
