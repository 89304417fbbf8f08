// From JSON to what OPC UA carries.

import { opcua } from "./library.js";

const { coerceInt64, coerceLocalizedText, coerceNodeId, coerceQualifiedName, coerceUInt64, DataType } = opcua;

/** A JSON value as the given type: times are milliseconds, bytes base64, 64-bit integers strings, NaN "NaN". */
export function coerce(dataType, value) {
    switch (dataType) {
        case DataType.Double:
        case DataType.Float:
            return Number(value);
        case DataType.Int64:
            return coerceInt64(value);
        case DataType.UInt64:
            return coerceUInt64(value);
        case DataType.DateTime:
            return new Date(value);
        case DataType.ByteString:
            return Buffer.from(value, "base64");
        case DataType.LocalizedText:
            return coerceLocalizedText(value);
        case DataType.NodeId:
            return coerceNodeId(value);
        case DataType.QualifiedName:
            return coerceQualifiedName(value);
        default:
            return value;
    }
}

/** Milliseconds since 1970, with a fraction, as OPC UA's Date and picoseconds; now when absent. */
export function coerceTime(milliseconds) {
    if (milliseconds == null) return { timestamp: new Date(), picoseconds: 0 };
    const whole = Math.floor(milliseconds);
    // The wire carries steps of 100 ns.
    const picoseconds = Math.round((milliseconds - whole) * 10_000) * 100_000;
    return { timestamp: new Date(whole), picoseconds };
}
