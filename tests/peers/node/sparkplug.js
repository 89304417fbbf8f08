// Eclipse Tahu's own edge node (npm: sparkplug-client, sparkplug-payload), driven by JSON lines: a command a line in,
// an answer a line out. Without a server URL it only decodes.
//
//   node sparkplug.js '{"serverUrl": "mqtt://127.0.0.1:1883", "groupId": "plant", "edgeNode": "line", "clientId": "x"}'
//
// What it is commanded it does, and reports it in a data message. After {"do": "report", "how": "asked"} it only says so
// when it is asked for its birth, and after "never" not even then, from the next command on. "data" ends that.
//
// in   {"id": 1, "do": "birth", "node": {"metrics": [...]}, "devices": {"press": {"metrics": [...]}}}
// out  {"id": 1, "ok": {...}}  or  {"id": 1, "error": "..."}  or, unasked, {"event": "ncmd", ...}
//
// It ends when its stdin closes.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

console.log = console.info = console.warn = console.error;

const installed = process.env.PLANTGATE_PEERS_NODE;
if (!installed) {
    console.error("PLANTGATE_PEERS_NODE must name the folder in which scripts/peers installed sparkplug-client");
    process.exit(2);
}
const load = createRequire(join(installed, "package.json"));
const codec = load("sparkplug-payload").get("spBv1.0");
const { Payload } = load("sparkplug-payload/lib/sparkplugPayloadProto").org.eclipse.tahu.protobuf;

function say(line) {
    process.stdout.write(`${JSON.stringify(line, plain)}\n`);
}

// What JSON has no word for: 64-bit numbers and the unusual floats as text, bytes as hex.
function plain(_key, value) {
    if (value !== null && typeof value === "object" && "low" in value && "high" in value && "unsigned" in value) {
        return value.toString();
    }
    if (typeof value === "number" && !Number.isFinite(value)) {
        return String(value);
    }
    if (value instanceof Uint8Array || (value && value.type === "Buffer")) {
        return Buffer.from(value.data ?? value).toString("hex");
    }
    return value;
}

// Tahu's reader of data messages needs the type in each metric; the specification has it in the birth alone.
function decode({ payload, types }) {
    const raw = Payload.decode(Buffer.from(payload, "hex"));
    for (const metric of raw.metrics) {
        if (!metric.datatype && metric.alias != null) {
            metric.datatype = (types ?? {})[metric.alias.toString()];
        }
    }
    return signed(codec.decodePayload(Payload.encode(raw).finish()));
}

// npm gives protobufjs and sparkplug-payload a copy of "long" each, and so the latter's `instanceof Long` is false.
function signed(payload) {
    for (const metric of payload.metrics ?? []) {
        if (metric.type === "Int64" && metric.value?.toSigned) metric.value = metric.value.toSigned();
    }
    return payload;
}

function encode({ payload }) {
    return { hex: Buffer.from(codec.encodePayload(revive(payload))).toString("hex") };
}

// Bytes come as {"hex": "..."}.
function revive(value) {
    if (Array.isArray(value)) return value.map(revive);
    if (value && typeof value === "object") {
        if (typeof value.hex === "string") return Buffer.from(value.hex, "hex");
        return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, revive(each)]));
    }
    return value;
}

const options = JSON.parse(process.argv[2] ?? "{}");
let client = null;
let born = null;
let reports = "data";
let mute = false;

function birth() {
    if (!born || mute) return {};
    // The library adds bdSeq to the list it is given: a fresh one each time.
    const node = revive(born.node ?? { metrics: [] });
    client.publishNodeBirth({ ...node, timestamp: Date.now(), metrics: [...node.metrics] });
    for (const [device, payload] of Object.entries(born.devices ?? {})) {
        client.publishDeviceBirth(device, { timestamp: Date.now(), ...revive(payload) });
    }
    return {};
}

// NCMD or DCMD, as tahu's client decodes it: without a type in the message it has no value for us.

function obey(device, payload) {
    const home = device === null ? born?.node : born?.devices?.[device];
    for (const metric of payload.metrics ?? []) {
        const known = home?.metrics.find((each) =>
            metric.name ? each.name === metric.name : each.alias != null && String(each.alias) === String(metric.alias),
        );
        if (!known || metric.value == null) continue;
        known.value = metric.value.toNumber ? metric.value.toNumber() : metric.value;
        mute = reports === "never";
        if (reports !== "data") continue;
        const report = { timestamp: Date.now(), metrics: [{ ...known, timestamp: Date.now() }] };
        if (device === null) client.publishNodeData(report);
        else client.publishDeviceData(device, report);
    }
}

const commands = {
    decode,
    encode,
    birth: (command) => {
        born = command;
        return birth();
    },
    ndata: ({ payload }) => client.publishNodeData({ timestamp: Date.now(), ...revive(payload) }) ?? {},
    ddata: ({ device, payload }) => client.publishDeviceData(device, { timestamp: Date.now(), ...revive(payload) }) ?? {},
    ping: () => ({}),
    report: ({ how }) => {
        reports = how;
        mute = false;
        return {};
    },
    ddeath: ({ device }) => client.publishDeviceDeath(device, { timestamp: Date.now(), metrics: [] }) ?? {},
    stop: () => client?.stop() ?? {},
};

if (options.serverUrl) {
    const { newClient } = load("sparkplug-client");
    client = newClient({ username: "", password: "", publishDeath: true, ...options });
    client.on("connect", () => say({ event: "connect" }));
    client.on("birth", birth);
    client.on("ncmd", (payload) => {
        say({ event: "ncmd", payload: signed(payload) });
        if (payload.metrics?.some((metric) => metric.name === "Node Control/Rebirth" && metric.value === true)) birth();
        else obey(null, payload);
    });
    client.on("dcmd", (device, payload) => {
        say({ event: "dcmd", device, payload: signed(payload) });
        obey(device, payload);
    });
    client.on("error", (error) => say({ event: "error", error: String(error) }));
}
say({ event: "ready" });

for await (const line of createInterface({ input: process.stdin })) {
    let id = null;
    try {
        const command = JSON.parse(line);
        id = command.id;
        say({ id, ok: commands[command.do](command) });
    } catch (error) {
        say({ id, error: String(error?.stack ?? error) });
    }
}
process.exit(0);
