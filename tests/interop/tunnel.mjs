// Makes clients in node reach the sandbox by the environment. Since Node 24 the environment is
// enough. Older ones need a proxy agent; as the global one, it serves unmodified clients too.

import http from "node:http";
import https from "node:https";
import tls from "node:tls";

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
if (!knowsTheEnvironment) https.globalAgent = new TunnelAgent();
