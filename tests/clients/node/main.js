// The program that a Node application of etcd could be: every part of the package etcd3, one
// printed line a step. tests/clients runs it against etcd and against Tianlu and compares the lines.
//
// Usage: node main.js ENDPOINT TLS_ENDPOINT CERTIFICATES
'use strict';

const { Etcd3 } = require('etcd3');
const { answers } = require('./conversation');
const { keys, limits, transactions } = require('./keys');
const { elections, locks } = require('./recipes');
const { authentication, tls } = require('./security');
const { leases, reconnection, watches } = require('./streams');

async function main([endpoint, secureEndpoint, certificates]) {
  const places = { hosts: `http://${endpoint}`, secureHosts: `https://${secureEndpoint}`, certificates };
  const client = new Etcd3({ hosts: places.hosts });
  for (const part of [keys, transactions, watches, leases, locks, elections, limits, reconnection, authentication, tls]) {
    await part(client, places);
  }
  client.close();
  answers.close();
  console.log('end');
}

main(process.argv.slice(2)).then(
  () => process.exit(0),
  error => {
    console.error(error);
    process.exit(1);
  },
);
