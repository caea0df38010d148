'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { Etcd3 } = require('etcd3');
const { ask, failure, say, until } = require('./conversation');

async function authentication(anybody, { hosts }) {
  const connected = (username, password) => new Etcd3({ hosts, auth: { username, password } });
  const root = await anybody.user('root').create('rootpw');
  say('auth.enable too early', await failure(anybody.auth.authEnable()));
  await anybody.role('root').create();
  await root.addRole('root');
  const user = await anybody.user('ann').create('annpw');
  say('auth.user twice', await failure(anybody.user('ann').create('x')));
  const role = await anybody.role('reader').create();
  await role.grant({ permission: 'Readwrite', range: anybody.range({ prefix: 'auth/a/' }) });
  await role.grant({ permission: 'Read', key: 'auth/r' });
  await user.addRole('reader');
  const permissions = await role.permissions();
  say('auth.permissions', permissions.map(each => `${each.permission} ${each.range.start} ${each.range.end}`));
  say('auth.users', (await anybody.getUsers()).map(each => each.name), (await user.roles()).map(each => each.name));
  say('auth.unknown role', await failure(user.addRole('nothing')));
  await anybody.auth.authEnable();
  say('auth.nobody', await failure(anybody.get('auth/a/1').string()));
  say('auth.wrong password', await failure(connected('ann', 'wrong').get('auth/a/1').string()));
  const ann = connected('ann', 'annpw');
  await ann.put('auth/a/1').value('1');
  say('auth.read', await ann.getAll().prefix('auth/a/').strings());
  say('auth.write of read-only', await failure(ann.put('auth/r').value('1').exec()));
  say('auth.read of others', await failure(ann.get('auth/b').string()));
  say('auth.administer', await failure(ann.user('eve').create('x')));
  await ask('restart');
  await freshToken(ann);
  const administrator = connected('root', 'rootpw');
  await administrator.role('reader').revoke({ permission: 'Read', key: 'auth/r' });
  await administrator.user('ann').removeRole('reader');
  say('auth.role taken', await failure(ann.get('auth/a/1').string()));
  await administrator.role('reader').delete();
  await administrator.user('ann').delete();
  await administrator.auth.authDisable();
  await anybody.user('root').delete();
  for (const client of [ann, administrator]) client.close();
}

/** Simple tokens do not outlive the server: the client logs in anew by itself. */
async function freshToken(ann) {
  let read;
  await until(async () => {
    read = await ann.get('auth/a/1').string().catch(() => undefined);
    return read !== undefined;
  }, 'a read with a fresh token');
  say('auth.token refreshed', read);
}

async function tls(_, { secureHosts, certificates }) {
  const file = name => fs.readFileSync(path.join(certificates, name));
  const mine = { rootCertificate: file('ca.crt'), privateKey: file('ann.key'), certChain: file('ann.crt') };
  const ann = new Etcd3({ hosts: secureHosts, credentials: mine });
  await ann.put('shop/a').value('1');
  say('tls.by common name', await ann.get('shop/a').string());
  say('tls.denied', await failure(ann.put('other').value('1').exec()));
  const bob = new Etcd3({ hosts: secureHosts, credentials: mine, auth: { username: 'bob', password: 'bobpw' } });
  say('tls.by password', await failure(bob.put('shop/a').value('1').exec()));
  const stranger = new Etcd3({ hosts: secureHosts, credentials: { rootCertificate: mine.rootCertificate } });
  say('tls.no certificate', (await failure(stranger.get('shop/a').string())) instanceof Error);
  for (const client of [ann, bob, stranger]) client.close();
}

module.exports = { authentication, tls };
