// An OPC UA client on a stack that is not ours, driven by JSON lines: one command a line in, one answer a line out.
//
//   node client.js '{"url": "opc.tcp://…", "pki": "/tmp/pki", "policy": "Basic256Sha256", ...}'
//
// in   {"id": 1, "do": "read", ...}
// out  {"id": 1, "ok": {...}}  or  {"id": 1, "error": "..."}
//
// The client ends when its stdin closes, so it never outlives the test that started it.

import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { opcua } from "./library.js";

const {
    AttributeIds, ClientMonitoredItemGroup, DataType, MessageSecurityMode, OPCUACertificateManager, OPCUAClient,
    SecurityPolicy, StatusCodes, TimestampsToReturn, UserTokenType, makeNodeClassMask,
} = opcua;

const options = JSON.parse(process.argv[2]);
const heard = [];
let client = null;
let session = null;
let subscription = null;

function say(line) {
    process.stdout.write(`${JSON.stringify(line)}\n`);
}

// A value with its status and its times: milliseconds, and the picoseconds beside them.
function told(dataValue) {
    let value = dataValue.value?.value ?? null;
    if (typeof value === "number" && !Number.isFinite(value)) value = String(value);
    if (typeof value === "bigint") value = Number(value);
    if (ArrayBuffer.isView(value) && !(value instanceof Buffer)) value = Array.from(value);
    if (value instanceof Buffer) value = value.toString("base64");
    return {
        value,
        type: dataValue.value ? DataType[dataValue.value.dataType] : "Null",
        status: dataValue.statusCode.name,
        code: dataValue.statusCode.value,
        source_ms: dataValue.sourceTimestamp ? dataValue.sourceTimestamp.getTime() : null,
        source_ps: dataValue.sourcePicoseconds ?? 0,
        server_ms: dataValue.serverTimestamp ? dataValue.serverTimestamp.getTime() : null,
    };
}

async function connect() {
    const manager = new OPCUACertificateManager({
        automaticallyAcceptUnknownCertificate: true,
        rootFolder: options.pki,
    });
    await manager.initialize();
    client = OPCUAClient.create({
        applicationName: "peer",
        applicationUri: options.application_uri,
        certificateFile: options.certificate,
        privateKeyFile: options.key,
        clientCertificateManager: manager,
        securityMode: MessageSecurityMode[options.mode ?? "SignAndEncrypt"],
        securityPolicy: SecurityPolicy[options.policy ?? "Basic256Sha256"],
        endpointMustExist: false,
        connectionStrategy: { maxRetry: 0, initialDelay: 100 },
        requestedSessionTimeout: options.session_timeout_ms ?? 60000,
        defaultSecureTokenLifetime: options.token_ms ?? 600000,
        keepSessionAlive: false,
    });
    await client.connect(options.url);
    const user = options.user
        ? { type: UserTokenType.UserName, userName: options.user, password: options.password }
        : options.user_certificate
          ? { type: UserTokenType.Certificate, certificateData: new X509Certificate(readFileSync(options.user_certificate)).raw,
                privateKey: readFileSync(options.user_key, "utf-8") }
          : { type: UserTokenType.Anonymous };
    session = await client.createSession(user);
    return {};
}

const commands = {
    connect,
    endpoints: async () => {
        const plain = OPCUAClient.create({ endpointMustExist: false, connectionStrategy: { maxRetry: 0 } });
        await plain.connect(options.url);
        const found = await plain.getEndpoints();
        await plain.disconnect();
        return {
            endpoints: found.map((each) => ({
                url: each.endpointUrl,
                policy: each.securityPolicyUri.split("#")[1],
                mode: MessageSecurityMode[each.securityMode],
                tokens: each.userIdentityTokens.map((token) => UserTokenType[token.tokenType]),
            })),
        };
    },
    browse: async ({ node }) => {
        const result = await session.browse({
            nodeId: node, browseDirection: 0, includeSubtypes: true, nodeClassMask: 0, resultMask: 63,
            referenceTypeId: "HierarchicalReferences",
        });
        let references = result.references ?? [];
        let point = result.continuationPoint;
        while (point && point.length) {
            const more = await session.browseNext(point, false);
            references = references.concat(more.references);
            point = more.continuationPoint;
        }
        return {
            status: result.statusCode.name,
            references: references.map((each) => ({
                node: each.nodeId.toString(), name: each.browseName.name, type: each.typeDefinition.toString(),
            })),
        };
    },
    read: async ({ nodes, attribute }) => {
        const attributeId = AttributeIds[attribute ?? "Value"];
        const found = await session.read(nodes.map((nodeId) => ({ nodeId, attributeId })), 0);
        return { values: found.map(told) };
    },
    subscribe: async ({ nodes, interval_ms, queue, deadband, trigger }) => {
        subscription = await session.createSubscription2({
            requestedPublishingInterval: interval_ms ?? 100, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 10,
            maxNotificationsPerPublish: 0, publishingEnabled: true, priority: 1,
        });
        const filter = new opcua.DataChangeFilter({
            trigger: opcua.DataChangeTrigger[trigger ?? "StatusValueTimestamp"],
            deadbandType: deadband ? opcua.DeadbandType.Absolute : opcua.DeadbandType.None,
            deadbandValue: deadband ?? 0,
        });
        const group = ClientMonitoredItemGroup.create(
            subscription,
            nodes.map((nodeId) => ({ nodeId, attributeId: AttributeIds.Value })),
            { samplingInterval: 0, queueSize: queue ?? 100, discardOldest: true, filter },
            TimestampsToReturn.Both,
        );
        group.on("changed", (item, dataValue, index) => heard.push({ node: nodes[index], ...told(dataValue) }));
        await new Promise((resolve, reject) => {
            group.on("initialized", resolve);
            group.on("err", (message) => reject(new Error(message)));
        });
        for (const item of group.monitoredItems) {
            if (item.statusCode.isNotGood()) throw new Error(item.statusCode.name);
        }
        return {};
    },
    heard: () => ({ heard: heard.splice(0) }),
    write: async ({ node, value, attribute }) => {
        const status = await session.write({
            nodeId: node,
            attributeId: AttributeIds[attribute ?? "Value"],
            value: { statusCode: StatusCodes.Good, value: { dataType: DataType.Double, value } },
        });
        return { status: status.name };
    },
    call: async ({ object, method }) => {
        const result = await session.call({ objectId: object, methodId: method, inputArguments: [] });
        return { status: result.statusCode.name };
    },
    namespaces: async () => ({ namespaces: await session.readNamespaceArray() }),
    translate: async ({ start, path }) => {
        const found = await session.translateBrowsePath(opcua.makeBrowsePath(start, path));
        return { status: found.statusCode.name, nodes: (found.targets ?? []).map((each) => each.targetId.toString()) };
    },
    disconnect: async () => {
        if (session) await session.close().catch(() => {});
        if (client) await client.disconnect();
        session = client = null;
        return {};
    },
};

async function answer(line) {
    let id = null;
    try {
        const command = JSON.parse(line);
        id = command.id;
        say({ id, ok: await commands[command.do](command) });
    } catch (error) {
        say({ id, error: String(error?.message ?? error) });
    }
}

createInterface({ input: process.stdin }).on("line", answer).on("close", () => process.exit(0));
say({ event: "ready" });
