// Prints what AsyncAPI's parser finds in the document on standard input, as a JSON list; nothing is fetched.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const diagnostics = await new Parser().validate(readFileSync(0, "utf8"));
console.log(JSON.stringify(diagnostics.map(({ severity, code, path, message }) => ({ severity, code, path, message }))));
