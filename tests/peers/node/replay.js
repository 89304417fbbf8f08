// Plays the rows of a CSV file into the plant: all columns of a row in one turn, with the row's own time.

import { readFileSync } from "node:fs";

/**
 * {file, folder, namespace, rows_per_second, first, rows, history}: makes the variables on first use.
 * Resolves when the last row is set. Rows that are due are set even when the server was held up meanwhile.
 */
export async function replay(plant, command, tell) {
    const { columns, rows } = read(command.file, command.first ?? 0, command.rows);
    const paths = columns.map((name) => (command.folder ? `${command.folder}/${name}` : name));
    const missing = columns.filter((_, at) => !plant.nodes.has(paths[at]));
    plant.create({
        folder: command.folder ?? "",
        namespace: command.namespace,
        variables: missing.map((name) => ({ name, type: "Double", history: command.history ?? rows.length })),
    });
    const started = performance.now();
    let told = started;
    let row = 0;
    while (row < rows.length) {
        const elapsed = (performance.now() - started) / 1000;
        const due = Math.min(rows.length, Math.floor(elapsed * command.rows_per_second) + 1);
        for (; row < due; row += 1) {
            const { time, values } = rows[row];
            for (let at = 0; at < paths.length; at += 1) plant.put(paths[at], values[at], null, time);
        }
        if (performance.now() - told >= 500) {
            told = performance.now();
            tell(row);
        }
        await new Promise((resolve) => setTimeout(resolve, 1000 / command.rows_per_second));
    }
    tell(row);
    return { rows: row, columns: columns.length, paths };
}

function read(file, first, count) {
    const [head, ...lines] = readFileSync(file, "utf8").trimEnd().split("\n");
    const columns = head.trim().split(",").slice(1);
    const wanted = lines.slice(first, count == null ? undefined : first + count);
    let last = Number.NEGATIVE_INFINITY;
    const rows = wanted.map((line, at) => {
        const [date, ...cells] = line.trim().split(",");
        const time = Date.parse(`${date.replace(" ", "T")}Z`);
        if (!(time > last)) throw new Error(`${file}: the date of row ${first + at} does not advance: ${date}`);
        last = time;
        return { time, values: cells.map(Number) };
    });
    return { columns, rows };
}
