// The last values of one variable, for HistoryRead. node-opcua's own historian walks its whole list for every read.

export class History {
    constructor(longest) {
        this.longest = longest;
        this.values = []; // in the order of their times
        this.times = [];
        this.first = 0; // index of the oldest value kept
    }

    async push(dataValue) {
        const time = dataValue.sourceTimestamp.getTime();
        // Nearly always the end; a value set with an earlier time than the last takes its place among the others.
        const at = this.#at(time + 1);
        this.values.splice(at, 0, dataValue.clone());
        this.times.splice(at, 0, time);
        if (this.values.length - this.first > this.longest) this.first += 1;
        if (this.first > this.longest) {
            this.values = this.values.slice(this.first);
            this.times = this.times.slice(this.first);
            this.first = 0;
        }
    }

    extractDataValues(details, most, isReversed, reverseAnswer, callback) {
        const from = known(details.startTime) ? this.#at(details.startTime.getTime()) : this.first;
        const to = known(details.endTime) ? this.#at(details.endTime.getTime() + 1) : this.values.length;
        let found = this.values.slice(from, to);
        if (isReversed) found.reverse();
        if (most) found = found.slice(0, most);
        if (reverseAnswer) found.reverse();
        callback(null, found);
    }

    #at(time) {
        let low = this.first;
        let high = this.times.length;
        while (low < high) {
            const middle = (low + high) >> 1;
            if (this.times[middle] < time) low = middle + 1;
            else high = middle;
        }
        return low;
    }
}

// OPC UA says "not given" with its smallest time, the year 1601.
function known(time) {
    return time instanceof Date && time.getUTCFullYear() > 1601;
}
