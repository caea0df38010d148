// How a program of tests/clients speaks with the test: a line a step, and requests to the test.
'use strict';

const readline = require('node:readline');

const PATIENCE_MS = 30_000;
const answers = readline.createInterface({ input: process.stdin });

/** Prints one step's outcome. */
function say(step, ...outcome) {
  console.log(`${step}: ${outcome.map(text).join(' ')}`);
}

function text(value) {
  if (value instanceof Error) return `error<${value.constructor.name} ${value.message}>`;
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** Has the test do something to the server: `restart`, or `etcdctl ARGUMENTS`. */
function ask(...request) {
  const answered = new Promise(resolve => answers.once('line', resolve));
  console.log(`?${request.join(' ')}`);
  return answered;
}

/** Returns what a step that has to fail said. */
async function failure(step) {
  try {
    await step;
  } catch (error) {
    return error;
  }
  return 'no error';
}

/** Waits until a condition holds. */
async function until(condition, what) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`nothing came in time: ${what}`);
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

module.exports = { answers, ask, failure, say, until };
