// An OPC UA server on a stack that is not ours, driven by JSON lines: one command a line in, one answer a line out.
//
//   node server.js '{"port": 0, "pki": "/tmp/pki", ...}'
//
// in   {"id": 1, "do": "create", ...}
// out  {"id": 1, "ok": {...}}  or  {"id": 1, "error": "..."}  or, unasked, {"event": "ready", ...}
//
// The server ends when its stdin closes, so it never outlives the test that started it.

import { createInterface } from "node:readline";

import { Alarms } from "./alarms.js";
import { Gate } from "./gate.js";
import { Plant } from "./plant.js";
import { replay } from "./replay.js";
import { addStructure } from "./structures.js";

function say(line) {
    process.stdout.write(`${JSON.stringify(line)}\n`);
}

const options = JSON.parse(process.argv[2]);
const gate = new Gate(options);
await gate.open();
const plant = new Plant(gate.server.engine.addressSpace, options);
const alarms = new Alarms(gate.server.engine.addressSpace, plant);

const commands = {
    create: (command) => plant.create(command),
    set: (command) => plant.set(command.values),
    read: (command) => plant.read(command.paths),
    delete: (command) => plant.delete(command.paths),
    structure: (command) => addStructure(plant, command, options.structures ?? {}),
    replay: (command) => replay(plant, command, (row) => say({ event: "replay", id: command.id, row })),
    alarm: (command) => alarms.create(command),
    raise: (command) => alarms.raise(command),
    refuse: (command) => gate.refuse(command),
    trust: (command) => gate.trust(command.certificate),
    counts: () => gate.counts(),
    writes: () => ({ writes: gate.writes }),
    close_sessions: (command) => gate.closeSessions(command.delete_subscriptions),
    stop: () => stop(0),
};

let stopping = null;

function stop(exitCode) {
    // A moment for the answer to leave; node-opcua keeps handles open that would hold the process.
    stopping ??= (async () => {
        await gate.close();
        setTimeout(() => process.exit(exitCode), 50).unref();
        return {};
    })();
    return stopping;
}

async function answer(line) {
    let id = null;
    try {
        const command = JSON.parse(line);
        id = command.id;
        const act = commands[command.do];
        if (!act) throw new Error(`no such command: ${command.do}`);
        say({ id, ok: (await act(command)) ?? {} });
    } catch (error) {
        say({ id, error: String(error?.message ?? error) });
    }
}

say({ event: "ready", port: gate.port, url: gate.url, node: process.version, stack: gate.stack });
const lines = createInterface({ input: process.stdin });
lines.on("line", answer);
lines.on("close", () => stop(0));
process.on("SIGTERM", () => stop(0));
process.on("SIGINT", () => {}); // Ctrl-C reaches the whole group; our parent ends us by closing stdin.
