// Variables whose value is a structure (an ExtensionObject) of a type that clients can read and decode.

import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { opcua } from "./library.js";
import { coerce } from "./values.js";

const { DataType, Variant } = opcua;

const TYPES = "urn:plantgate:tests:types";

/**
 * Write a nodeset with `types` ({Recipe: [["speed", "Double"], ...]}) into `folder`; answers its file.
 * node-opcua makes an encoder for types it loads from a nodeset, and for no others.
 */
export function writeTypes(folder, types) {
    const nodes = Object.entries(types).map(([name, fields], at) => {
        const type = `ns=1;i=${1000 + 10 * at}`;
        const encoding = `ns=1;i=${1001 + 10 * at}`;
        const members = fields.map(([field, kind]) => `<Field Name="${field}" DataType="i=${DataType[kind]}"/>`);
        return `
  <UADataType NodeId="${type}" BrowseName="1:${name}">
    <DisplayName>${name}</DisplayName>
    <References>
      <Reference ReferenceType="HasSubtype" IsForward="false">i=22</Reference>
      <Reference ReferenceType="HasEncoding">${encoding}</Reference>
    </References>
    <Definition Name="1:${name}">${members.join("")}</Definition>
  </UADataType>
  <UAObject NodeId="${encoding}" BrowseName="Default Binary" SymbolicName="DefaultBinary">
    <DisplayName>Default Binary</DisplayName>
    <References>
      <Reference ReferenceType="HasEncoding" IsForward="false">${type}</Reference>
      <Reference ReferenceType="HasTypeDefinition">i=76</Reference>
    </References>
  </UAObject>`;
    });
    const file = join(folder, "types.NodeSet2.xml");
    writeFileSync(
        file,
        `<?xml version="1.0" encoding="utf-8"?>
<UANodeSet xmlns="http://opcfoundation.org/UA/2011/03/UANodeSet.xsd">
  <NamespaceUris><Uri>${TYPES}</Uri></NamespaceUris>
  <Models>
    <Model ModelUri="${TYPES}" Version="1.0.0" PublicationDate="2026-01-01T00:00:00Z">
      <RequiredModel ModelUri="http://opcfoundation.org/UA/" />
    </Model>
  </Models>
  <Aliases>
    <Alias Alias="HasSubtype">i=45</Alias>
    <Alias Alias="HasEncoding">i=38</Alias>
    <Alias Alias="HasTypeDefinition">i=40</Alias>
  </Aliases>${nodes.join("")}
</UANodeSet>
`,
    );
    return file;
}

/** {folder, name, type, values: {speed: 1.5, ...}}: a variable of a type given to `writeTypes`. */
export function addStructure(plant, { folder = "", name, type: typeName, namespace, values }, types) {
    const type = plant.namespace(TYPES).findDataType(typeName);
    if (!type) throw new Error(`no structure ${typeName}`);
    const space = plant.namespace(namespace);
    const path = folder ? `${folder}/${name}` : name;
    const variable = space.addVariable({
        organizedBy: plant.folder(space, folder),
        nodeId: `s=${path}`,
        browseName: name,
        dataType: type.nodeId,
        minimumSamplingInterval: 0,
    });
    plant.adopt(path, variable, { dataType: DataType.ExtensionObject, array: false, structure: { type, fields: types[typeName] } });
    plant.put(path, values);
    return { nodes: { [path]: variable.nodeId.toString() } };
}

/** The Variant of a structure, from a plain object with its fields. */
export function structure(addressSpace, { type, fields }, values) {
    const coerced = Object.fromEntries(fields.map(([field, kind]) => [field, coerce(DataType[kind], values[field])]));
    return new Variant({ dataType: DataType.ExtensionObject, value: addressSpace.constructExtensionObject(type, coerced) });
}
