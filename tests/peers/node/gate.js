// Who may come in and how much they get: endpoints, certificates, users, limits, and refusals on command.

import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { opcua } from "./library.js";
import { writeTypes } from "./structures.js";

const {
    coerceStatusCode,
    DataType,
    MessageSecurityMode,
    nodesets,
    OPCUACertificateManager,
    OPCUAServer,
    SecurityPolicy,
    ServiceFault,
    Subscription,
} = opcua;

const POLICIES = ["None", "Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"];

function certificateFrom(file) {
    const text = readFileSync(file);
    const pem = /-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----/.exec(text.toString("latin1"));
    return pem ? Buffer.from(pem[1], "base64") : text;
}

/** What a Write request asks for, one entry a node. */
function written(request) {
    return request.nodesToWrite.map(({ nodeId, attributeId, value }) => ({
        audit: request.requestHeader.auditEntryId,
        node: nodeId.toString(),
        attribute: attributeId,
        type: DataType[value.value?.dataType],
        timed: Boolean(value.sourceTimestamp || value.serverTimestamp),
    }));
}

export class Gate {
    constructor(options) {
        this.options = options;
        this.refusals = new Map(); // service name -> {status, times}
        this.writes = []; // every Write request, in order
    }

    get stack() {
        return `node-opcua ${this.server.buildInfo?.softwareVersion ?? ""}`.trim();
    }

    get port() {
        return this.server.endpoints[0].port;
    }

    get url() {
        return `opc.tcp://127.0.0.1:${this.port}${this.options.resource_path ?? ""}`;
    }

    async open() {
        const options = this.options;
        this.clients = await this.#store(options.pki, "server", options.trusted);
        this.users = await this.#store(options.pki, "users", options.user_certificates);
        const policies = options.policies ?? POLICIES;
        const modes = [];
        if (policies.includes("None")) modes.push(MessageSecurityMode.None);
        if (policies.some((name) => name !== "None")) modes.push(MessageSecurityMode.SignAndEncrypt);
        const passwords = options.users ?? {};
        this.server = new OPCUAServer({
            port: options.port ?? 0,
            host: options.host ?? "127.0.0.1",
            hostname: "127.0.0.1",
            alternateHostname: ["127.0.0.1", "localhost"],
            advertisedEndpoints: options.advertised ?? [],
            nodesets: options.structures
                ? [nodesets.standard, writeTypes(options.pki, options.structures)]
                : [nodesets.standard],
            resourcePath: options.resource_path ?? "",
            securityPolicies: policies.map((name) => SecurityPolicy[name]),
            securityModes: modes,
            allowAnonymous: options.anonymous ?? true,
            allowAnonymousSubscriptionTransferOnUnsecuredChannel: options.anonymous_transfer ?? false,
            serverInfo: {
                applicationUri: options.application_uri ?? "urn:plantgate:tests:node-opcua",
                applicationName: { text: options.application_name ?? "plantgate test peer" },
                productUri: "urn:plantgate:tests",
            },
            buildInfo: {
                manufacturerName: options.manufacturer ?? "NodeOPCUA",
                productName: options.product ?? "NodeOPCUA-Server",
            },
            serverCertificateManager: this.clients,
            userCertificateManager: this.users,
            userManager: { isValidUser: (name, password) => Object.hasOwn(passwords, name) && passwords[name] === password },
            isAuditing: false,
            maxConnectionsPerEndpoint: options.max_connections ?? 100,
            serverCapabilities: {
                maxSessions: options.max_sessions ?? 50,
                maxSubscriptions: options.max_subscriptions ?? 100,
                maxSubscriptionsPerSession: options.max_subscriptions_per_session ?? 50,
                maxMonitoredItems: options.max_monitored_items ?? 200_000,
                maxMonitoredItemsPerSubscription: options.max_monitored_items ?? 200_000,
                maxHistoryContinuationPoints: 100,
                // 0: an item that asks for sampling interval 0 gets every change, as an exception-based PLC gives it.
                minSupportedSampleRate: 0,
                operationLimits: {
                    maxNodesPerRead: options.max_nodes_per_read ?? 1000,
                    maxNodesPerWrite: options.max_nodes_per_write ?? 1000,
                    maxNodesPerBrowse: options.max_nodes_per_browse ?? 1000,
                    maxMonitoredItemsPerCall: options.max_monitored_items_per_call ?? 1000,
                    maxNodesPerHistoryReadData: options.max_nodes_per_history_read ?? 100,
                },
            },
        });
        if (options.min_publishing_interval_ms) {
            Subscription.minimumPublishingInterval = options.min_publishing_interval_ms;
        }
        // A revised session timeout has no setting in node-opcua: shorten what the client asks before the server looks.
        const longest = options.session_timeout_ms;
        this.server.on("request", (request) => {
            if (longest && request.schema.name === "CreateSessionRequest") {
                request.requestedSessionTimeout = Math.min(request.requestedSessionTimeout || longest, longest);
            }
            if (request.schema.name === "WriteRequest") this.writes.push(...written(request));
        });
        this.#watchForRefusals();
        await this.server.initialize();
        await this.server.start();
    }

    /** Answer the next `times` requests of a service with a ServiceFault: {service: "CreateSubscription", status, times}. */
    refuse({ service, status, times }) {
        if (times === 0) this.refusals.delete(service);
        else this.refusals.set(service, { status: coerceStatusCode(status), times });
    }

    /** Trust one more client certificate (a DER or PEM file) while running. */
    async trust(certificate) {
        await this.clients.trustCertificate(certificateFrom(certificate));
    }

    counts() {
        const engine = this.server.engine;
        let monitored = 0;
        for (const session of Object.values(engine._sessions)) {
            for (const subscription of Object.values(session.publishEngine.subscriptions)) {
                monitored += subscription.monitoredItemCount;
            }
        }
        return {
            sessions: engine.currentSessionCount,
            subscriptions: engine.currentSubscriptionCount,
            monitored_items: monitored,
            channels: this.server.currentChannelCount,
            transactions: this.server.transactionsCount,
            bytes_written: this.server.bytesWritten,
            rejected_sessions: engine.rejectedSessionCount,
            created_sessions: engine.cumulatedSessionCount,
            created_subscriptions: engine.cumulatedSubscriptionCount,
        };
    }

    closeSessions(deleteSubscriptions = true) {
        const engine = this.server.engine;
        const open = Object.values(engine._sessions);
        for (const session of open) engine.closeSession(session.authenticationToken, deleteSubscriptions, "Terminated");
        return { closed: open.length };
    }

    async close() {
        await this.server.shutdown(0);
    }

    async #store(root, name, trusted) {
        const folder = join(root, name);
        mkdirSync(folder, { recursive: true });
        const store = new OPCUACertificateManager({
            rootFolder: folder,
            automaticallyAcceptUnknownCertificate: name === "server" && (this.options.trust_unknown ?? true),
            disableFileWatchers: true,
        });
        await store.initialize();
        for (const file of trusted ?? []) await store.trustCertificate(certificateFrom(file));
        return store;
    }

    #watchForRefusals() {
        const server = this.server;
        const refusals = this.refusals;
        for (const service of [
            "CreateSession",
            "ActivateSession",
            "CreateSubscription",
            "CreateMonitoredItems",
            "TransferSubscriptions",
            "Republish",
            "Publish",
            "Read",
            "Write",
            "Browse",
            "HistoryRead",
        ]) {
            const method = `_on_${service}Request`;
            const answer = server[method];
            if (typeof answer !== "function") throw new Error(`node-opcua has no ${method}`);
            server[method] = function (message, channel) {
                const refusal = refusals.get(service);
                if (!refusal) return answer.call(this, message, channel);
                if (--refusal.times === 0) refusals.delete(service);
                const response = new ServiceFault({ responseHeader: { serviceResult: refusal.status } });
                channel.send_response("MSG", response, message);
            };
        }
    }
}
