// node-opcua, from the cache folder that scripts/peers fills; its log goes to stderr, stdout is for our answers.

import { createRequire } from "node:module";
import { join } from "node:path";

console.log = console.info = console.warn = console.error;

const installed = process.env.PLANTGATE_PEERS_NODE;
if (!installed) {
    console.error("PLANTGATE_PEERS_NODE must name the folder in which scripts/peers installed node-opcua");
    process.exit(2);
}

// A module's own folder decides where `import "x"` looks, and ours holds no node_modules.
export const opcua = createRequire(join(installed, "package.json"))("node-opcua");
