'use strict';

const { Etcd3 } = require('etcd3');
const { ask, failure, say, until } = require('./conversation');
const { shown } = require('./keys');

/** Keeps what a watcher says. */
function recorded(watcher) {
  const events = [];
  watcher.on('put', (kv, before) => events.push(`put ${shown([kv])}<-${before ? shown([before]) : ''}`));
  watcher.on('delete', (kv, before) => events.push(`delete ${shown([kv])}<-${before ? shown([before]) : ''}`));
  return events;
}

async function watches(client) {
  const begin = Number((await client.get('watch/a').exec()).header.revision);
  const watcher = await client.watch().prefix('watch/').withPreviousKV().create();
  const events = recorded(watcher);
  await client.put('watch/a').value('1');
  await client.put('watch/a').value('2');
  await client.delete().prefix('watch/');
  await until(() => events.length >= 3, 'events');
  say('watch.events', events);
  const past = await client.watch().prefix('watch/').startRevision(String(begin + 1)).only('delete').create();
  const deletes = recorded(past);
  await until(() => deletes.length >= 1, 'history');
  say('watch.history', deletes);
  await past.cancel();
  await watcher.cancel();
  await client.kv.compact({ revision: begin + 3 });
  const gone = client.watch().key('watch/a').startRevision(String(begin + 1)).watcher();
  say('watch.compacted', await new Promise(resolve => gone.on('error', resolve)));
}

async function leases(client) {
  const lease = client.lease(600);
  await lease.grant();
  await lease.put('lease/a').value('1');
  say('lease.keep alive', (await lease.keepaliveOnce()).TTL);
  const left = await client.leaseClient.leaseTimeToLive({ ID: await lease.grant(), keys: true });
  say('lease.left', left.grantedTTL, left.keys.map(String));
  await lease.revoke();
  say('lease.revoked', await client.get('lease/a').exists());
  say('lease.revoke again', await failure(client.leaseClient.leaseRevoke({ ID: await lease.grant() })));
  say('lease.too long', await failure(client.lease(9_000_000_001).grant()));
  const lost = client.lease(600);
  const told = new Promise(resolve => lost.on('lost', error => resolve(error.constructor.name)));
  await client.leaseClient.leaseRevoke({ ID: await lost.grant() });
  say('lease.use of a lost one', await failure(lost.put('lease/b').value('1').exec()), await told);
  await expiry(client);
}

/** One lease ends by itself while another is kept alive for longer than its time. */
async function expiry(client) {
  const ends = client.lease(2, { autoKeepAlive: false });
  const stays = client.lease(3);
  let renewals = 0;
  stays.on('keepaliveSucceeded', () => renewals++);
  await ends.put('expiry/ends').value('1');
  await stays.put('expiry/stays').value('1');
  await until(async () => !(await client.get('expiry/ends').exists()), 'expiry');
  await until(() => renewals >= 4, 'renewals');
  say('lease.expired', await client.getAll().prefix('expiry/').keys());
  await stays.revoke();
}

/** The server is killed and started again under a watch and a kept lease. */
async function reconnection(client, { hosts }) {
  const watcher = await client.watch().prefix('reconnect/').withPreviousKV().create();
  const events = recorded(watcher);
  const lease = client.lease(30);
  let lost = false;
  lease.on('lost', () => { lost = true; });
  await lease.put('reconnect/leased').value('1');
  await until(() => events.length === 1, 'event before');
  await ask('restart');
  for (const value of ['1', '2', '3']) await ask('etcdctl', 'put', 'reconnect/a', value);
  await until(() => events.length >= 4, 'events after');
  say('reconnect.missed nothing', events);
  // The client's circuit breaker may still be open; a user's own retry is a new client.
  const fresh = new Etcd3({ hosts });
  await fresh.put('reconnect/b').value('after');
  await until(() => events.length >= 5, 'event of the new connection');
  say('reconnect.goes on', events.slice(4), lost, await fresh.get('reconnect/leased').exists());
  fresh.close();
  await until(async () => !(await failure(lease.keepaliveOnce()) instanceof Error), 'the first client');
  await lease.revoke();
  await watcher.cancel();
}

module.exports = { leases, reconnection, watches };
