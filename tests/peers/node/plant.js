// The nodes of the plant: folders and variables, named by paths such as "line3/press1/temperature".

import { History } from "./history.js";
import { opcua } from "./library.js";
import { structure } from "./structures.js";
import { coerce, coerceTime } from "./values.js";

const { coerceStatusCode, DataType, DataValue, StatusCodes, Variant, VariantArrayType } = opcua;

export class Plant {
    constructor(addressSpace, options) {
        this.addressSpace = addressSpace;
        this.nodes = new Map(); // path -> folder or variable
        this.kinds = new Map(); // path -> {dataType, array}
        this.uris = options.namespaces ?? ["urn:plantgate:tests:plant"];
        for (const uri of this.uris) addressSpace.registerNamespace(uri);
    }

    namespace(uri = this.uris[0]) {
        const index = this.addressSpace.getNamespaceIndex(uri);
        if (index < 0) throw new Error(`no namespace ${uri}`);
        return this.addressSpace.getNamespace(index);
    }

    find(path) {
        const node = this.nodes.get(path);
        if (!node) throw new Error(`no node ${path}`);
        return node;
    }

    /** Make `variables` under `folder`; answers the node id of each by its path. */
    create({ folder = "", namespace, variables }) {
        const space = this.namespace(namespace);
        const parent = this.folder(space, folder);
        const nodes = {};
        for (const wanted of variables) {
            const path = folder ? `${folder}/${wanted.name}` : wanted.name;
            if (this.nodes.has(path)) throw new Error(`${path} is there already`);
            const variable = this.#variable(space, parent, path, wanted);
            nodes[path] = variable.nodeId.toString();
        }
        return { nodes };
    }

    folder(space, path) {
        let parent = this.addressSpace.rootFolder.objects;
        let walked = "";
        for (const name of path.split("/").filter(Boolean)) {
            walked = walked ? `${walked}/${name}` : name;
            if (!this.nodes.has(walked)) {
                // A notifier of what holds it, so that an alarm is heard at every level up to the Server object.
                const above = this.nodes.has(parentOf(walked)) ? parent : this.addressSpace.rootFolder.objects.server;
                const folder = space.addObject({
                    organizedBy: parent,
                    notifierOf: above,
                    eventNotifier: 1,
                    typeDefinition: "FolderType",
                    browseName: name,
                    nodeId: `s=${walked}`,
                });
                this.nodes.set(walked, folder);
            }
            parent = this.nodes.get(walked);
        }
        return parent;
    }

    /** Set many at once: [[path, value, status?, source_ms?], ...], all within one turn of the server. */
    set(values) {
        for (const [path, value, status, sourceMs] of values) this.put(path, value, status, sourceMs);
        return { set: values.length };
    }

    put(path, value, status, sourceMs) {
        const node = this.find(path);
        const kind = this.kinds.get(path);
        const source = coerceTime(sourceMs);
        // Not setValueFromSource: it copies the source time into the server time, which would hide a client that mixes them.
        node._internal_set_dataValue(
            new DataValue({
                value: this.#variant(kind, value),
                statusCode: status == null ? StatusCodes.Good : coerceStatusCode(status),
                sourceTimestamp: source.timestamp,
                sourcePicoseconds: source.picoseconds,
                serverTimestamp: new Date(),
            }),
        );
    }

    read(paths) {
        return {
            values: paths.map((path) => {
                const found = this.find(path).readValue();
                return [found.value.value, found.statusCode.name, found.sourceTimestamp?.getTime() ?? null];
            }),
        };
    }

    delete(paths) {
        for (const path of paths) {
            this.addressSpace.deleteNode(this.find(path));
            for (const known of [...this.nodes.keys()]) {
                if (known === path || known.startsWith(`${path}/`)) {
                    this.nodes.delete(known);
                    this.kinds.delete(known);
                }
            }
        }
        return { deleted: paths.length };
    }

    adopt(path, node, kind) {
        this.nodes.set(path, node);
        this.kinds.set(path, kind);
    }

    #variable(space, parent, path, wanted) {
        const kind = { dataType: DataType[wanted.type ?? "Double"], array: Array.isArray(wanted.value) };
        if (kind.dataType === undefined) throw new Error(`${path}: no such data type: ${wanted.type}`);
        const variable = space.addVariable({
            organizedBy: parent,
            eventSourceOf: parent.eventNotifier ? parent : undefined,
            nodeId: wanted.id ?? `s=${path}`,
            browseName: wanted.name,
            description: wanted.description,
            dataType: wanted.type ?? "Double",
            valueRank: kind.array ? 1 : -1,
            minimumSamplingInterval: wanted.min_sampling_ms ?? 0,
            accessLevel: wanted.writable ? "CurrentRead | CurrentWrite" : "CurrentRead",
            userAccessLevel: wanted.writable ? "CurrentRead | CurrentWrite" : "CurrentRead",
        });
        this.adopt(path, variable, kind);
        if (wanted.history) {
            // Before the first value, so that the history holds nothing but what was set.
            this.addressSpace.installHistoricalDataNode(variable, { historian: new History(wanted.history) });
        }
        if (wanted.value !== undefined && wanted.value !== null) {
            this.put(path, wanted.value, wanted.status, wanted.source_ms);
        }
        return variable;
    }

    #variant(kind, value) {
        if (value == null) return new Variant({ dataType: DataType.Null });
        if (kind.structure) return structure(this.addressSpace, kind.structure, value);
        return new Variant({
            dataType: kind.dataType,
            arrayType: kind.array ? VariantArrayType.Array : VariantArrayType.Scalar,
            value: kind.array ? value.map((each) => coerce(kind.dataType, each)) : coerce(kind.dataType, value),
        });
    }
}

function parentOf(path) {
    return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}
