// Keyscope from Node.js: no Keyscope code, only a NATS client and JSON.
//
//   npm ci && node link.js [nats://127.0.0.1:4222]
//
// Creates a channel, a key and their link, receives the link's event, and asks the graph.

import { connect, headers, nuid } from "nats";

const nc = await connect({ servers: process.argv[2] ?? process.env.KEYSCOPE_NATS_URL ?? "nats://127.0.0.1:4222" });

// A command is a request. Its id makes it safe to send again: the same id gets the first outcome.
async function command(name, body, id = nuid.next()) {
  const about = headers();
  about.set("Nats-Msg-Id", id);
  about.set("Keyscope-Actor", "node-example");
  return answer(await nc.request(`keyscope.cmd.${name}`, JSON.stringify(body), { timeout: 5000, headers: about }));
}

// `position` makes the read model wait until it has what this program wrote.
async function query(endpoint, body) {
  return answer(await nc.request(`keyscope.query.${endpoint}`, JSON.stringify(body), { timeout: 5000 }));
}

function answer(message) {
  const reply = message.json();
  if (reply.error) {
    throw new Error(`${reply.error.type}: ${reply.error.message}`);
  }
  return reply;
}

const { data: channel } = await command("sales_channel.create", { name: "Web shop" });
const { data: key, position: before } = await command("api_key.create", { title: "Storefront", type: "publishable" });

// Link events, filtered by key: keyscope.evt.link.<created|dismissed>.<key id>.<channel id>
const consumer = await nc.jetstream().consumers.get("KEYSCOPE_EVENTS", {
  filterSubjects: `keyscope.evt.link.*.${key.id}.*`,
});
const events = await consumer.consume();

const { data: links, position } = await command("link.create", {
  api_key: { api_key_id: key.id },
  sales_channel: { sales_channel_id: channel.id },
});
console.log("linked", links[0].id);

for await (const message of events) {
  const event = message.json();
  console.log("event", event.type, event.data.publishable_key_id, event.data.sales_channel_id);
  if (event.position > before) {
    break;
  }
}

const { data: keys } = await query("graph", {
  entity: "api_key",
  fields: ["title", "sales_channels.name"],
  filters: { id: key.id },
  position,
});
console.log("graph", JSON.stringify(keys));

await nc.drain();
