// Medusa's client drives keys, channels and batches of links: node drive.mjs URL SECRET_KEY
import assert from "node:assert/strict"
import sdk from "@medusajs/js-sdk"

const Medusa = sdk.default ?? sdk

const [baseUrl, apiKey] = process.argv.slice(2)
const medusa = new Medusa({ baseUrl, apiKey })
const { apiKey: keys, salesChannel: channels } = medusa.admin

const refused = (status, message) => (error) => {
  assert.equal(error.status, status)
  assert.match(error.message, message)
  return true
}

// Channels
const made = []
for (const name of ["Web", "App", "Market"]) {
  made.push((await channels.create({ name, metadata: { made: "by the client" } })).sales_channel)
}
const [web, app, market] = made
assert.equal((await channels.retrieve(web.id)).sales_channel.name, "Web")
assert.equal((await channels.update(web.id, { description: "the shop" })).sales_channel.description, "the shop")
const listed = await channels.list({ name: ["Web", "App"], order: "-name", fields: "name" })
assert.deepEqual(listed.sales_channels.map((it) => it.name), ["Web", "App"])
assert.equal(listed.count, 2)

// Keys
const { api_key: key } = await keys.create({ title: "Storefront", type: "publishable" })
assert.match(key.token, /^pk_[0-9a-f]{64}$/)
const { api_key: secret } = await keys.create({ title: "Server", type: "secret" })
assert.match(secret.token, /^sk_[0-9a-f]{64}$/)
assert.equal((await keys.update(key.id, { title: "Shop" })).api_key.title, "Shop")
assert.equal((await keys.retrieve(secret.id)).api_key.token, "")
assert.equal((await keys.list({ q: "shop", type: "publishable" })).api_keys[0].id, key.id)
assert.equal((await keys.list({ created_at: { $gt: "2000-01-01" }, limit: 1 })).count, 3)

// Batches of links
const linked = async (change) => {
  const { api_key } = await keys.batchSalesChannels(key.id, change)
  return api_key.sales_channels.map((it) => it.name).sort()
}
assert.deepEqual(await linked({ add: made.map((it) => it.id) }), ["App", "Market", "Web"])
assert.deepEqual(await linked({ remove: [app.id, market.id] }), ["Web"])
assert.deepEqual(await linked({ add: [app.id], remove: [web.id] }), ["App"])
await assert.rejects(linked({ add: ["sc_nope"] }), refused(400, /^Sales channels with IDs sc_nope do not exist$/))
await assert.rejects(
  keys.batchSalesChannels(secret.id, { add: [app.id] }),
  refused(400, /^Sales channels can only be associated with publishable API keys$/),
)
const ofKey = await channels.list({ publishable_key_id: key.id })
assert.deepEqual(ofKey.sales_channels.map((it) => it.id), [app.id])

// The storefront, with the client's own header
const storefront = new Medusa({ baseUrl, publishableKey: key.token })
const scope = await storefront.client.fetch("/store/scope")
assert.deepEqual(scope.publishable_key_context, { key: key.token, sales_channel_ids: [app.id] })
await assert.rejects(
  new Medusa({ baseUrl }).client.fetch("/store/scope"),
  refused(400, /^Publishable API key required in the request header/),
)

// Events as they happen
const { stream, abort } = await medusa.client.fetchStream(`/events?since=beginning&api_key_id=${key.id}`)
const seen = []
for await (const event of stream) {
  if (event.event) seen.push(event.event)
  if (seen.length === 7) break
}
abort()
assert.deepEqual(seen.filter((it) => it === "link.created").length, 4)

// The end of a key, and of a channel
await assert.rejects(keys.delete(key.id), refused(400, /^Cannot delete api keys that are not revoked - /))
assert.ok((await keys.revoke(key.id, { revoke_in: 0 })).api_key.revoked_at)
await assert.rejects(storefront.client.fetch("/store/scope"), refused(400, /^A valid publishable key is required/))
assert.deepEqual(await keys.delete(key.id), { id: key.id, object: "api_key", deleted: true })
await assert.rejects(keys.retrieve(key.id), refused(404, /was not found$/))
assert.deepEqual(await channels.delete(app.id), { id: app.id, object: "sales-channel", deleted: true })
await assert.rejects(channels.retrieve(app.id), refused(404, /not found$/))

// Who has not signed in
await assert.rejects(new Medusa({ baseUrl }).admin.apiKey.list(), refused(401, /^Unauthorized$/))
console.log("done")
