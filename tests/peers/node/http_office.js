// An HTTP server on Node.js: takes batches at /in, shows a reading at /now, and misbehaves as it is told.
// Commands come as lines on stdin: {"answers": [503, 204]} uses up these statuses first; {"now": {...}} sets the reading;
// {"retry_after": 2}. What was taken goes out as lines on stdout.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import readline from 'node:readline';

let answers = [];
let retryAfter = 1;
let now = { v: 0 };
let looks = 0;

function etag() {
  return '"' + createHash('sha1').update(JSON.stringify(now)).digest('hex') + '"';
}

function handle(request, response) {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => {
    const body = Buffer.concat(pieces).toString();
    if (request.method === 'GET' && request.url === '/now') {
      looks += 1;
      if (request.headers['if-none-match'] === etag()) {
        response.writeHead(304, { ETag: etag() });
        response.end();
      } else {
        response.writeHead(200, { 'Content-Type': 'application/json', ETag: etag() });
        response.end(JSON.stringify(now));
      }
      return;
    }
    if (request.method === 'GET' && request.url === '/looks') {
      response.end(String(looks));
      return;
    }
    if (request.method !== 'POST') {
      response.writeHead(405);
      response.end();
      return;
    }
    const status = answers.length ? answers.shift() : 204;
    console.log(JSON.stringify({ status, key: request.headers['idempotency-key'] || '', body }));
    if (status === 0) {
      request.socket.destroy(); // taken, and no answer
      return;
    }
    response.writeHead(status, status === 429 || status === 503 ? { 'Retry-After': String(retryAfter) } : {});
    response.end();
  });
}

const [cert, key, ca] = process.argv.slice(2);
const server = cert
  ? https.createServer(
      { cert: readFileSync(cert), key: readFileSync(key), ca: readFileSync(ca), requestCert: true, rejectUnauthorized: true },
      handle,
    )
  : http.createServer(handle);
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const told = JSON.parse(line);
  if (told.answers) answers = told.answers;
  if (told.now) now = told.now;
  if (told.retry_after) retryAfter = told.retry_after;
  console.log(JSON.stringify({ done: true }));
}).on('close', () => process.exit(0));
