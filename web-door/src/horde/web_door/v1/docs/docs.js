// Shows what openapi.json says, and does what is tried. Nothing is loaded from elsewhere, and no key is kept.

const SENT = ["post", "put", "patch"];
const byId = (id) => document.getElementById(id);
let document_ = {};

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function resolved(schema) {
  return schema.$ref ? document_.components.schemas[schema.$ref.split("/").pop()] : schema;
}

// An example of what a body may hold: every field that is not a message within a message within a message.
function example(schema, depth = 0) {
  const {type, properties, items, enum: values, format} = resolved(schema);
  if (properties) {
    if (depth > 3) return {};
    return Object.fromEntries(Object.entries(properties).map(([name, inner]) => [name, example(inner, depth + 1)]));
  }
  if (type === "array") return [];
  if (values) return values[0];
  if (format === "date-time") return "2026-01-01T00:00:00Z";
  if (type === "boolean") return false;
  if (type === "integer" || type === "number" || Array.isArray(type)) return 0;
  return "";
}

function operation(path, verb, told) {
  const form = element("form");
  const inputs = new Map();
  for (const parameter of told.parameters ?? []) {
    const input = element("input", {name: parameter.name, required: parameter.in === "path"});
    inputs.set(parameter, input);
    form.append(element("label", {}, `${parameter.name} (${parameter.in})`, input,
      element("small", {textContent: parameter.description ?? ""})));
  }
  const content = told.requestBody?.content ?? {};
  let body = null;
  if (content["application/json"]) {
    const schema = content["application/json"].schema;
    body = element("textarea", {spellcheck: false, value: JSON.stringify(example(schema), null, 2)});
    form.append(element("label", {}, "body: take out what is not meant", body));
  } else if (SENT.includes(verb) && told.requestBody) {
    body = element("input", {type: "file", required: true});
    form.append(element("label", {}, "file", body));
  }
  const answer = element("output");
  form.append(element("button", {textContent: "Try"}), answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    answer.replaceChildren("…");
    try {
      await tried(path, verb, inputs, body, answer);
    } catch (error) {
      answer.replaceChildren(element("pre", {textContent: String(error)}));
    }
  });
  return element("details", {id: told.operationId},
    element("summary", {}, element("b", {textContent: verb.toUpperCase()}), element("code", {textContent: path}),
      ` ${told.summary ?? ""}`),
    element("div", {className: "text", textContent: told.description ?? ""}), form);
}

async function tried(path, verb, inputs, body, answer) {
  const query = new URLSearchParams();
  for (const [parameter, input] of inputs) {
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value) query.append(parameter.name, input.value);
  }
  const headers = {};
  if (byId("authorization").value) headers.authorization = byId("authorization").value;
  const sent = body?.type === "file" ? body.files[0] : body?.value;
  const url = query.size ? `${path}?${query}` : path;
  const response = await fetch(url, {method: verb.toUpperCase(), headers, body: sent});
  const shown = element("pre", {textContent: `${response.status} ${response.statusText}\n`});
  answer.replaceChildren(shown);
  const kind = response.headers.get("content-type") ?? "";
  if (kind.startsWith("image/")) {
    answer.append(element("img", {src: URL.createObjectURL(await response.blob()), alt: "The image"}));
  } else if (kind.startsWith("text/event-stream")) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) shown.append(part.value);
  } else {
    const text = await response.text();
    shown.append(kind.includes("json") ? JSON.stringify(JSON.parse(text), null, 2) : text);
  }
}

function errors() {
  for (const [name, schema] of Object.entries(document_.components.schemas)) {
    if (!name.endsWith("ErrorReason")) continue;
    const domain = name.startsWith("horde.api.mesh.") ? "mesh" : name.split(".").slice(0, -1).join(".");
    const prefix = schema.enum[0].replace(/UNSPECIFIED$/, "");
    const texts = new Map([...schema.description.matchAll(/^- `(\w+)`: (.*)$/gm)].map((found) => [found[1], found[2]]));
    for (const value of schema.enum.slice(1)) {
      const reason = value.slice(prefix.length);
      byId("errors").append(element("dt", {id: `${domain}.${reason}`, textContent: `${domain} ${reason}`}),
        element("dd", {textContent: texts.get(value) ?? ""}));
    }
  }
}

async function show() {
  document_ = await (await fetch("../openapi.json")).json();
  const main = byId("operations");
  main.replaceChildren();
  for (const tag of document_.tags) {
    main.append(element("h2", {textContent: tag.name}));
    for (const [path, item] of Object.entries(document_.paths)) {
      for (const [verb, told] of Object.entries(item)) {
        if (told.tags[0] === tag.name) main.append(operation(path, verb, told));
      }
    }
  }
  errors();
  byId("find").addEventListener("input", () => {
    const wanted = byId("find").value.toLowerCase();
    for (const shown of main.querySelectorAll("details")) {
      shown.hidden = !shown.textContent.toLowerCase().includes(wanted);
    }
  });
  if (location.hash) byId(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

show();
