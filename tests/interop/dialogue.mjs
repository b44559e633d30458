// How a client in node talks with the test that plays the person.
//
// The test sends a job as one line of JSON: consumer {key, secret}, callback (a URL or "oob"), at
// (the server's addresses by name), ask (what to post at the end), and what a client needs besides.
// The client says where to send the person, hears how that ended, and prints what it got.

import { createInterface } from "node:readline";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function hear() {
  const { value, done } = await lines.next();
  if (done) throw new Error("the test has gone");
  return JSON.parse(value);
}

const say = (what) => console.log(JSON.stringify(what));

export const job = await hear();

// Send the person to this address; resolves to {pin} or {callback}, the address they came back to.
export async function sendPerson(url) {
  say({ open: url });
  return hear();
}

export const verifierOf = ({ pin, callback }) =>
  pin ?? new URL(callback).searchParams.get("oauth_verifier");

// What the client got in the end: token {key, secret}, user, and answers to the questions in `ask`.
export function finish(result) {
  say(result);
  process.exit(0);
}
