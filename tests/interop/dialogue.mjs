// The dialogue of a client in node with the test, which acts as the person.
//
// The test sends a job as one line of JSON: consumer {key, secret}, callback (a URL or "oob"), at
// (the server's URLs by name), ask (what to post at the end), and options of the client.
// The client prints the URL for the person, reads the outcome, and prints its results.

import { createInterface } from "node:readline";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function hear() {
  const { value, done } = await lines.next();
  if (done) throw new Error("the test has gone");
  return JSON.parse(value);
}

const say = (what) => console.log(JSON.stringify(what));

export const job = await hear();

// Send the person to this URL. Resolves to {pin} or {callback}, the URL of the redirect.
export async function sendPerson(url) {
  say({ open: url });
  return hear();
}

export const verifierOf = ({ pin, callback }) =>
  pin ?? new URL(callback).searchParams.get("oauth_verifier");

// The results: token {key, secret}, user, and the responses to the requests in `ask`.
export function finish(result) {
  say(result);
  process.exit(0);
}
