'use strict';

const { failure, say, until } = require('./conversation');

async function locks(client) {
  const held = client.lock('lock/a').ttl(30);
  await held.acquire();
  say('lock.taken', await failure(client.lock('lock/a').acquire()));
  await held.release();
  say('lock.do', await client.lock('lock/a').do(() => 'done'));
  say('lock.left', await client.getAll().prefix('lock/').count());
}

async function elections(client) {
  const election = client.election('offices', 30);
  say('election.nobody', await election.leader());
  const first = election.campaign('first');
  await first.wait();
  say('election.leader', await election.leader());
  const observer = await election.observe();
  await until(() => observer.leader() === 'first', 'observed leader');
  await first.proclaim('erste');
  await until(() => observer.leader() === 'erste', 'observed proclamation');
  const second = election.campaign('second');
  let elected = false;
  second.on('elected', () => { elected = true; });
  await second.getCampaignKey();
  say('election.before the resignation', elected);
  await first.resign();
  await second.wait();
  await until(() => observer.leader() === 'second', 'observed successor');
  say('election.successor', await election.leader());
  say('election.not the leader', await failure(first.proclaim('x')));
  await observer.cancel();
  await second.resign();
  say('election.resigned', await election.leader());
}

module.exports = { elections, locks };
