// Shows what the function made of each request, and makes the tokens that the requests have.
"use strict";

const find = (id) => document.getElementById(id);

/** Makes an element with a text or with children. */
function element(name, content, attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...[content].flat());
  return made;
}

const json = (value) => JSON.stringify(value, null, 2);

// ---- The requests

/** The line of the log as an object, unless it is plain text. */
function parsed(line) {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

function members(line) {
  const row = ([name, value]) =>
    element("tr", [element("td", name), element("td", typeof value === "object" ? JSON.stringify(value) : String(value))]);
  return element("table", Object.entries(line).map(row));
}

function entry({ request_id, front_end, event, result }, line) {
  const body = parsed(result.body);
  const outcome = `${result.statusCode} ${body.code ?? "ok"}`;
  const operation = line?.operation ?? "";
  const took = line ? `${line.duration_ms} ms` : "";
  const title = [outcome, operation, front_end, took].filter(Boolean).join(" · ");
  const good = result.statusCode === 200;
  const parts = [
    element("summary", title),
    element("h3", "The event"),
    element("pre", json(event)),
    element("h3", "What the function returned"),
    element("pre", json(result)),
    element("h3", "The body of it"),
    element("pre", json(body)),
  ];
  if (line) {
    parts.push(element("h3", "The line of the log"), members(line));
  }
  return element("details", parts, { className: good ? "good" : "bad", id: request_id });
}

async function refresh() {
  const state = await (await fetch("state")).json();
  const lines = new Map();
  const others = [];
  for (const text of state.log) {
    const line = parsed(text);
    if (state.exchanges.some(({ request_id }) => request_id === line?.request_id)) {
      lines.set(line.request_id, line);
    } else {
      others.push(text);
    }
  }
  // Those that are there stay as they are, folded out or not.
  for (const exchange of state.exchanges.toReversed()) {
    if (!find(exchange.request_id)) {
      find("requests").prepend(entry(exchange, lines.get(exchange.request_id)));
    }
  }
  find("none").hidden = state.exchanges.length > 0;
  find("item").textContent = json(state.item);
  find("log").textContent = others.join("\n");
  find("others").hidden = others.length === 0;
  return state;
}

// ---- The token

function decoded(part) {
  return JSON.parse(atob(part.replaceAll("-", "+").replaceAll("_", "/")));
}

/** Takes a token for what is sent next. */
function authorize(token) {
  if (token) {
    ui.preauthorizeApiKey("token", token);
  } else {
    ui.authActions.logout(["token"]);
  }
  const [header, claims] = token.split(".");
  find("decoded").textContent = token ? `${json(decoded(header))}\n${json(decoded(claims))}\n${token}` : "none";
}

/** Claims from the fields; the times are those of a token that is made now. */
function fields() {
  const form = new FormData(find("claims"));
  const iat = Math.floor(Date.now() / 1000);
  const claims = { iat };
  for (const [name, value] of form) {
    if (name === "seconds" && value) {
      claims.exp = iat + Number(value);
    } else if (value) {
      claims[name] = value;
    }
  }
  return claims;
}

/** Signs the claims of the fields. */
async function sign() {
  const response = await fetch("token", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(fields()),
  });
  return response.text();
}

/** What can be wrong with a token, and the status that follows. */
const CHOICES = [
  ["as printed: 200", {}],
  ["another node: 404", { node_id: "6b8e5f0a-1c2d-4e3f-8a9b-0c1d2e3f4a5b" }],
  ["no node: 403", { node_id: "" }],
  ["no scope: 403", { scope: "" }],
  ["expired: 401", { seconds: "-60" }],
  ["another audience: 401", { aud: "others" }],
];

function offerTokens(token) {
  const { iat, exp, ...printed } = decoded(token.split(".")[1]);
  printed.seconds = String(exp - iat);
  const form = find("claims");
  form.append(
    ...Object.entries(printed).map(([name, value]) => {
      const label = name === "seconds" ? "valid for seconds" : name;
      return element("label", [label, element("input", [], { name, value, autocomplete: "off" })]);
    }),
  );
  const choose = (claims) => {
    for (const [name, value] of Object.entries({ ...printed, ...claims })) {
      form.elements[name].value = value;
    }
    return sign();
  };
  const button = (name, onclick) => element("button", name, { type: "button", onclick });
  find("choices").append(
    ...CHOICES.map(([name, claims]) => button(name, async () => authorize(await choose(claims)))),
    button("another signature: 401", async () => {
      const [header, claims, signature] = (await choose({})).split(".");
      authorize([header, claims, [...signature].reverse().join("")].join("."));
    }),
    button("no token: 401", () => authorize("")),
  );
  form.addEventListener("change", async () => authorize(await sign()));
  form.addEventListener("submit", (event) => event.preventDefault());
}

// ---- The page

const ui = SwaggerUIBundle({
  url: "openapi.yaml",
  dom_id: "#operation",
  docExpansion: "full",
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
  onComplete: async () => {
    const state = await refresh();
    find("front-end").append(...state.front_ends.map((name) => element("option", name)));
    // A provider's tokens are made elsewhere.
    const signs = state.token !== "";
    find("signing").hidden = !signs;
    find("provider").hidden = signs;
    if (signs) {
      offerTokens(state.token);
      authorize(state.token);
    }
  },
  requestInterceptor: (request) => {
    if (request.url.includes("/api/v1/")) {
      request.headers["X-Front-End"] = find("front-end").value;
    }
    return request;
  },
  responseInterceptor: (response) => {
    refresh();
    return response;
  },
});
// Commands in a terminal send requests, too.
window.addEventListener("focus", refresh);
