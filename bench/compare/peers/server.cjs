// Node.js with Socket.IO as it comes from npm: a room by the handshake, each `set` acknowledged and told to
// the others in the room. `node server.cjs [redis://…]`; prints its port. Nothing is validated or kept.
"use strict";
const { Server } = require("socket.io");

async function main(redis) {
  const io = new Server({ transports: ["websocket"] });
  if (redis) {
    const { createClient } = require("redis");
    const { createAdapter } = require("@socket.io/redis-adapter");
    const pub = createClient({ url: redis });
    const sub = pub.duplicate();
    await Promise.all([pub.connect(), sub.connect()]);
    io.adapter(createAdapter(pub, sub));
  }
  io.on("connection", (socket) => {
    const { room } = socket.handshake.auth;
    socket.join(room);
    socket.on("set", (payload, answer) => {
      socket.to(room).emit("set", payload);
      answer({ ok: true });
    });
  });
  const http = require("node:http").createServer();
  io.attach(http);
  http.listen(0, "127.0.0.1", () => console.log(http.address().port));
}

main(process.argv[2]);
