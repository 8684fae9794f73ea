// The desk over Socket.IO: greets each user that connects, answers what a user says, and sends to all what begins with "all: ".
'use strict';
const fs = require('node:fs');
const { io } = require('socket.io-client');

const broker = process.argv[2] ?? 'http://localhost:8082';
const bkidFile = 'desk.bkid', lastFile = 'desk.last', ackMs = 10000, retryMs = 1000;
const kept = file => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8').trim() : null);

const socket = io(broker, { transports: ['websocket'] });

// Sends an event; its promise has the data of the ack, or fails with the refusal, or when the connection is lost.
const ask = (event, data) => new Promise((resolve, reject) =>
  socket.timeout(ackMs).emit(event, data, (lost, isTaken, answer) =>
    isTaken ? resolve(answer) : reject(lost ?? new Error(answer.message))));

// What to say to something that a user said or did: an event and its data; undefined for nothing.
function reply({ type, user, data, time }, id) {
  // One id for one answer: given twice, it is delivered once.
  const direct = text => ['dmb:direct', { id, user, data: text }];
  if (type === 'connect') { return direct(`Hello ${user}.`); }
  if (type !== 'message') { return undefined; }
  if (typeof data !== 'string' || data.length > 1000) { return direct('Please send a short text.'); }
  return data.startsWith('all: ')
    ? ['dmb:broadcast', { id, data: `${user}: ${data.slice('all: '.length)}` }]
    : direct(`At ${time} you said: ${data}`);
}

// Answers what users said and did since the last that was answered.
async function answerStored(bkid) {
  for (;;) {
    const response = await fetch(new URL(`/backend/${bkid}/uplink/stored?after=${kept(lastFile) ?? ''}`, broker));
    if (!response.ok) { throw new Error(await response.text()); }
    const stored = await response.json();
    if (stored.length === 0) { return; }
    for (const { id, uplink } of stored) {
      const answer = reply(uplink, id);
      if (answer) { await ask(...answer); }
      fs.writeFileSync(lastFile, id + '\n');
    }
  }
}

async function register() {
  const { bkid } = await ask('dmb:reconnect', { name: 'desk', bkid: kept(bkidFile) });
  fs.writeFileSync(bkidFile, bkid + '\n');
  console.log('desk', bkid);
}

// One thing at a time: registers after each connect, and looks into the store after each uplink, which is there already.
let isRegistered = false, isBusy = false, isAsked = false;
async function work() {
  isAsked = true;
  if (isBusy) { return; }
  isBusy = true;
  try {
    while (isAsked && socket.connected) {
      isAsked = false;
      if (!isRegistered) { await register(); isRegistered = true; }
      await answerStored(kept(bkidFile));
    }
  } catch (error) {
    console.error(error.message);
    setTimeout(work, retryMs);
  } finally {
    isBusy = false;
  }
}

socket.on('connect', work);
socket.on('dmb:uplink', work);
socket.on('disconnect', reason => {
  isRegistered = false;
  if (reason === 'io server disconnect') { throw new Error('The broker closed the session for good.'); }
});
