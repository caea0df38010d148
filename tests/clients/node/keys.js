'use strict';

const { failure, say } = require('./conversation');

/** Key-value pairs with every field that a client can see but the lease. */
function shown(kvs) {
  return kvs
    .map(kv => `${kv.key}=${kv.value}(${kv.create_revision},${kv.mod_revision},${kv.version})`)
    .join(' ');
}

async function keys(client) {
  for (const key of ['kv/a', 'kv/b', 'kv/c']) {
    const put = await client.put(key).value(key);
    say('kv.put', key, put.header.revision);
  }
  say('kv.previous', shown([await client.put('kv/b').value('again').getPrevious()]));
  say('kv.string', await client.get('kv/b').string(), await client.get('kv/none').string());
  say('kv.exists', await client.get('kv/b').exists(), await client.get('kv/none').exists());
  say('kv.all', await client.getAll().prefix('kv/').strings());
  say('kv.keys', await client.getAll().prefix('kv/').keys(), await client.getAll().prefix('kv/').count());
  const newest = await client.getAll().prefix('kv/').sort('Mod', 'Descend').limit(2).exec();
  say('kv.newest', newest.count, newest.more, shown(newest.kvs));
  const range = await client.getAll().inRange({ start: 'kv/a', end: 'kv/c' }).serializable(true).exec();
  say('kv.range', shown(range.kvs));
  say('kv.old', shown((await client.get('kv/b').revision(3).exec()).kvs));
  say('kv.since', shown((await client.getAll().prefix('kv/').minModRevision(4).exec()).kvs));
  say('kv.future', await failure(client.get('kv/a').revision(1000).exec()));
  say('kv.empty key', await failure(client.put('').value('x').exec()));
  say('kv.unknown lease', await failure(client.put('kv/a').value('x').lease('12345').exec()));
  say('kv.delete', shown(await client.delete().prefix('kv/').getPrevious()));
  await client.kv.compact({ revision: 4 });
  say('kv.compacted', await failure(client.get('kv/a').revision(3).exec()));
}

async function transactions(client) {
  await client.put('txn/a').value('1');
  const compared = async (name, ...comparison) => {
    const done = await client
      .if(...comparison)
      .then(client.put('txn/b').value(name), client.get('txn/b'))
      .else(client.getAll().prefix('txn/'))
      .commit();
    say(`txn.${name}`, done.succeeded, done.header.revision, done.responses.map(each => each.response));
  };
  await compared('value', 'txn/a', 'Value', '==', '1');
  await compared('other value', 'txn/a', 'Value', '!=', '1');
  await compared('version', 'txn/a', 'Version', '<', 2);
  await compared('none', 'txn/none', 'Create', '==', 0);
  await compared('modified', 'txn/a', 'Mod', '>', 1000);
  const twice = client.if('txn/a', 'Value', '==', '1').then(client.put('txn/t').value('1'), client.put('txn/t').value('2'));
  say('txn.twice', await failure(twice.commit()));
  await client.put('txn/money').value(100);
  const withdraw = tx =>
    tx.get('txn/money').number().then(money => tx.put('txn/money').value(money - 1));
  await Promise.all([1, 2, 3].map(() => client.stm({ retries: 20 }).transact(withdraw)));
  say('txn.stm', await client.get('txn/money').number());
  const space = client.namespace('space/');
  await space.put('a').value('1');
  say('txn.namespace', await space.getAll().strings(), await client.get('space/a').string());
}

async function limits(client) {
  say('limits.value', await failure(client.put('limits/large').value('x'.repeat((3 << 19) + 1)).exec()));
  await client.put('limits/fits').value('x'.repeat((3 << 19) - 512));
  say('limits.read', (await client.get('limits/fits').string()).length);
}

module.exports = { keys, limits, shown, transactions };
