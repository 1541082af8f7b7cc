// The stock JavaScript client, driven line by line.
//
//   node client.mjs '{"url", "token", "transports"?, "msgpack"?}'
//
// In on stdin, one JSON object a line: {id, call, payload} emits an event and waits for its ack;
// {id, drop: true} cuts the transport without a word; {id, close: true} leaves.
// Out on stdout: {id, answer}, {event, payload}, {state: "connect" | "disconnect" | "connect_error", ...}.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";
import msgpack from "socket.io-msgpack-parser";

const { url, token, transports, msgpack: packed } = JSON.parse(process.argv[2]);
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

// All that a client has to remember: how far it has been told, by `ops` and by its own acks, without a hole.
let epoch;
let seq = 0;

const options = { auth: (give) => give({ token, cursor: epoch && { epoch, seq } }), reconnectionDelay: 100 };
if (transports) options.transports = transports;
if (packed) Object.assign(options, { parser: msgpack, query: { codec: "msgpack" } });
const socket = io(`${url}/live`, options);

socket.on("connect", () => say({ state: "connect", transport: socket.io.engine.transport.name }));
socket.on("disconnect", (reason) => say({ state: "disconnect", reason }));
socket.on("connect_error", (error) => say({ state: "connect_error", message: error.message, data: error.data }));
socket.on("ready", (ready) => {
  epoch = ready.epoch;
  if (!ready.resumed) seq = ready.head;
});
socket.on("ops", ({ to }) => { seq = Math.max(seq, to); });
socket.onAny((event, payload) => say({ event, payload }));

const drop = () => {
  const { transport } = socket.io.engine;
  if (transport.ws?.terminate) transport.ws.terminate();
  else socket.io.engine.close();
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, call, payload, drop: cut, close } = JSON.parse(line);
  if (call) {
    socket.emit(call, payload, (answer) => {
      for (const result of answer.results ?? []) seq = Math.max(seq, result.seq);
      say({ id, answer });
    });
  } else if (cut) {
    drop();
    say({ id, answer: true });
  } else if (close) {
    socket.close();
    say({ id, answer: true });
    break;
  }
}
process.exit(0);
