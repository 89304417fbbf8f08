// Events on command, and limit alarms that watch a variable of the plant.

import { opcua } from "./library.js";

const { DataType } = opcua;

export class Alarms {
    constructor(addressSpace, plant) {
        this.addressSpace = addressSpace;
        this.plant = plant;
        addressSpace.installAlarmsAndConditionsService();
    }

    /** Raise one event from a folder or variable: {source, message, severity, event_type}. */
    raise({ source, message, severity = 500, event_type: eventType = "BaseEventType" }) {
        const node = source ? this.plant.find(source) : this.addressSpace.rootFolder.objects.server;
        const raiser = node.eventNotifier ? node : (node.parent ?? this.addressSpace.rootFolder.objects.server);
        raiser.raiseEvent(eventType, {
            message: { dataType: DataType.LocalizedText, value: { text: message } },
            severity: { dataType: DataType.UInt16, value: severity },
            sourceName: { dataType: DataType.String, value: source || "Server" },
            sourceNode: { dataType: DataType.NodeId, value: node.nodeId },
        });
        return {};
    }

    /** A limit alarm on a variable: {input, name, low_low, low, high, high_high}; it goes on and off as values are set. */
    create({ input, name, ...limits }) {
        const variable = this.plant.find(input);
        const alarm = variable.namespace.instantiateExclusiveLimitAlarm("ExclusiveLimitAlarmType", {
            browseName: name ?? `${variable.browseName.name} limits`,
            conditionName: name ?? `${input} limits`,
            conditionSource: variable,
            organizedBy: variable.parent ?? this.addressSpace.rootFolder.objects,
            inputNode: variable,
            lowLowLimit: limits.low_low ?? -1e300,
            lowLimit: limits.low ?? -1e299,
            highLimit: limits.high ?? 1e299,
            highHighLimit: limits.high_high ?? 1e300,
            optionals: ["ConfirmedState", "Confirm"],
        });
        // node-opcua throws at the second input in a row that is not good; this alarm keeps its state through them.
        alarm.onInputDataValueChange = (dataValue) => {
            const value = dataValue.value.value;
            if (dataValue.statusCode.isGood() && Number.isFinite(value)) alarm.setStateBasedOnInputValue(value);
        };
        this.plant.nodes.set(`${input}#${name ?? "limits"}`, alarm);
        return { node: alarm.nodeId.toString() };
    }
}
