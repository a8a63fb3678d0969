// The page of `deployer ui`. It shows the documents of the commands, as events bring them, and
// decides nothing that a command decided. All text from elsewhere becomes text, never markup.
"use strict";

const state = JSON.parse(document.getElementById("state").textContent);
const { about, service } = state;
const parts = {};
const $ = (id) => document.getElementById(id);
const query = service ? `?service=${encodeURIComponent(service)}` : "";

// Elements ------------------------------------------------------------------------------------

/** An element with attributes; children are nodes or texts, null and false are left out. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";
function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A link, if the address is one of the web; else its text. */
function link(url, text = url) {
  return /^https?:\/\//i.test(url) ? h("a", { href: url, target: "_blank", rel: "noreferrer noopener" }, text) : text;
}

/** A command with a button that copies it. */
function command(line) {
  const button = h("button", { type: "button", class: "small" }, "Copy");
  button.setAttribute("aria-label", `Copy: ${line}`);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(line);
      button.textContent = "Copied";
      say("Copied.");
    } catch {
      getSelection().selectAllChildren(code);
      say("Selected; copy it with the keyboard.");
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  const code = h("code", {}, line);
  return h("div", { class: "copy" }, code, button);
}

/** Lines of advice: those that begin with two spaces are commands. */
function advice(lines) {
  return lines.map((line) => (line.startsWith("  ") ? command(line.trim()) : h("p", {}, line)));
}

function dot(kind) {
  return h("span", { class: "dot", "data-state": kind, "aria-hidden": "true" });
}

// Times ---------------------------------------------------------------------------------------

function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const of = (size, name, below, part) => {
    const rest = Math.floor((whole % size) / below);
    return `${Math.floor(whole / size)} ${name}${rest ? ` ${rest} ${part}` : ""}`;
  };
  if (whole >= 86400) return of(86400, "d", 3600, "h");
  if (whole >= 3600) return of(3600, "h", 60, "min");
  if (whole >= 60) return of(60, "min", 1, "s");
  return `${whole} s`;
}

const two = (number) => String(number).padStart(2, "0");
function clock(iso) {
  const at = new Date(iso);
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

function age(iso) {
  const seconds = (Date.now() - new Date(iso)) / 1000;
  if (seconds < 60) return "just now";
  if (seconds < 86400) return `${span(seconds - (seconds % (seconds < 3600 ? 60 : 3600)))} ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

/** A time, and how long ago it was, which the page keeps right. */
function time(iso, alone = false) {
  const element = h("time", { datetime: iso, title: new Date(iso).toString() });
  element.dataset[alone ? "age" : "moment"] = iso;
  tick(element);
  return element;
}

function tick(element) {
  const { moment, age: only, since } = element.dataset;
  const text = since ? span((Date.now() - new Date(since)) / 1000) : only ? age(only) : `${clock(moment)} (${age(moment)})`;
  if (element.textContent !== text) element.textContent = text;
}

setInterval(() => {
  document.querySelectorAll("time[data-moment], time[data-age], [data-since]").forEach(tick);
  drawPulse();
}, 1000);

// What is said to those who do not see it -------------------------------------------------------

function say(text) {
  $("said").textContent = $("said").textContent === text ? `${text}\u00a0` : text;
}

// Words ---------------------------------------------------------------------------------------

const OUTCOMES = {
  SUCCEEDED: ["good", "live and verified"],
  FAILED_ROLLED_BACK: ["bad", "failed, rolled back"],
  FAILED: ["bad", "failed"],
  SUPERSEDED: ["off", "superseded"],
  HELD: ["wait", "held"],
  IGNORED: ["off", "deploys nothing"],
};

function outcome(record) {
  if (!record.outcome) return ["now", "in flight"];
  const [kind, words] = OUTCOMES[record.outcome] || ["off", record.outcome];
  if (record.trigger === "hold") return ["off", record.reason || words];
  return record.deployed === false ? [kind, "verified; it ran already"] : [kind, words];
}

function who(record) {
  const by = record.startedBy;
  if (record.trigger === "recover") return "recovery";
  return record.trigger === "push" || !by ? "push" : `${record.trigger} by ${by}`;
}

const short = (digest) => (digest || "").replace("sha256:", "").slice(0, 12);

// All services --------------------------------------------------------------------------------

function kindOf(entry) {
  if ((entry.inFlight || []).length) return "now";
  if (entry.problem) return "bad";
  if (entry.hold) return "wait";
  return entry.verified ? "good" : "off";
}

function wordsOf(entry) {
  const words = { now: "deploying", bad: "a problem", wait: "held", good: "live", off: "nothing live" };
  return words[kindOf(entry)];
}

const MANY = 8; // services in the bar; of more, those with something to see

function drawServices(services) {
  const at = (name) => `?service=${encodeURIComponent(name)}`;
  const few = services.length > MANY ? services.filter((entry) => entry.service === service || kindOf(entry) !== "good") : services;
  const rows = few.slice(0, MANY).map((entry) =>
    h("li", {}, h("a", { href: at(entry.service), "aria-current": entry.service === service ? "page" : null },
      dot(kindOf(entry)), entry.service, h("span", { class: "unseen" }, `: ${wordsOf(entry)}`))));
  const all = h("li", {}, h("a", { href: "?service=", "aria-current": service ? null : "page" }, "All"));
  keepFocus($("services"), services.length > 1 ? [all, ...rows] : rows);
  if (service) return;
  keepFocus($("all-list"), services.map((entry) => {
    const facts = [];
    if (entry.verified) facts.push(h("b", {}, entry.verified.version), " since ", time(entry.verified.since), " ");
    else if ("verified" in entry) facts.push("nothing live yet ");
    if (entry.url) facts.push(link(entry.url), " ");
    for (const one of entry.inFlight || [])
      facts.push(h("span", { class: "badge", "data-state": "now" }, `${one.version || one.release} in flight`), " ");
    if (entry.hold) facts.push(h("span", { class: "badge", "data-state": "wait" }, `held by ${entry.hold.by}`), " ");
    if (entry.problem) facts.push(h("span", { class: "dim" }, entry.problem));
    return h("li", {}, dot(kindOf(entry)), h("a", { href: at(entry.service) }, entry.service), h("div", {}, facts));
  }));
}

/** Replace children; the focus stays at the same place. */
function keepFocus(parent, children) {
  const focused = [...parent.querySelectorAll("a, button, summary, [tabindex]")].indexOf(document.activeElement);
  parent.replaceChildren(...children);
  if (focused >= 0) parent.querySelectorAll("a, button, summary, [tabindex]")[focused]?.focus();
}

// What serves now -----------------------------------------------------------------------------

function drawStatus(status) {
  const { live, verified, serves, tasks, hold } = status;
  $("name").textContent = status.service;
  const flying = status.inFlight.length > 0;
  const what = live ? live.version
    : serves === null ? (verified ? verified.version : "unknown")
    : serves.what || "nothing";
  $("version").textContent = what;
  const badge = live ? ["good", "live and verified"]
    : serves === null ? ["wait", "verified last; what serves is unknown"]
    : serves.what ? [flying ? "now" : "bad", flying ? "not verified yet" : "not verified"]
    : verified ? [flying ? "now" : "bad", "no task runs"] : ["off", "no release yet"];
  $("badge").dataset.state = badge[0];
  $("badge").textContent = badge[1];
  $("url").replaceChildren(...(status.url ? [link(status.url)] : []));
  const since = [];
  if (verified) {
    if (!live && what !== verified.version) since.push("verified last: ", h("b", {}, verified.version), " ");
    since.push("since ", time(verified.since), `, ${who(verified)}, `, h("code", {}, short(verified.digest)));
  }
  $("since").replaceChildren(...since);
  const healthy = { HEALTHY: ", healthy", UNHEALTHY: ", unhealthy" };
  const pills = ((tasks && tasks.list) || []).map((task) => {
    const well = task.status === "RUNNING" && task.health !== "UNHEALTHY" && task.targetHealthy !== false;
    const settled = well && (task.health === "HEALTHY" || task.health === null || task.health === "UNKNOWN");
    const behind = task.targetHealthy === null ? "" : task.targetHealthy ? ", in the load balancer" : ", not in the load balancer";
    const words = `${task.status.toLowerCase()}${healthy[task.health] || ""}${behind}`;
    return h("li", { title: task.id }, dot(settled ? "good" : well ? "now" : task.status === "RUNNING" ? "bad" : "off"),
      h("span", {}, task.version ? h("b", {}, task.version) : task.taskDefinition.split("/").pop()), h("span", { class: "dim" }, words));
  });
  if (tasks) {
    const pending = tasks.pending ? `, ${tasks.pending} pending` : "";
    pills.unshift(h("li", {}, `${tasks.running} of ${tasks.desired} running${pending}`));
  }
  $("tasks").replaceChildren(...pills);
  $("resume").hidden = !hold;
  $("hold").hidden = !!hold;
  $("cancel").hidden = !flying;
  drawNotes(status);
  drawFailure(status);
  drawBeside(status);
  drawTitle(status);
}

function note(kind, ...children) {
  return h("div", { class: "note", "data-state": kind }, ...children);
}

function drawNotes(status) {
  const notes = [];
  // while a deployment is in flight, the badge beside the version says it
  if (status.alarm && !status.inFlight.length) notes.push(note("bad", h("p", {}, status.alarm), status.mend && command(parts.commands.mend)));
  const drift = status.inFlight.length ? [] : parts.drift || [];
  for (const check of drift)
    notes.push(note("wait", h("p", {}, `Drift: ${check.finding}`), check.why && h("p", { class: "dim" }, check.why), advice(check.fix)));
  if (status.differs && !drift.length) notes.push(note("wait", h("p", {}, `Drift: ${status.differs}`)));
  if (status.hold) {
    const { by, at, reason, newestHeld } = status.hold;
    notes.push(note("wait", h("p", {}, `Pushes are held by ${by}${reason ? `: ${reason}` : ""}`),
      h("p", { class: "dim" }, "since ", time(at), newestHeld ? `. ${newestHeld.version} waits for the hold to end.` : ". No push waits.")));
  }
  if (status.waiting.length)
    notes.push(note("now", h("p", {}, "Waiting for the lock"), h("ul", {}, status.waiting.map((one) =>
      h("li", {}, `${one.version || one.release}, ${who(one)}, since `, time(one.since, true))))));
  for (const [what, why] of Object.entries(status.unseen)) notes.push(note("off", h("p", {}, `Not shown: ${what}`), h("p", { class: "dim" }, why)));
  for (const one of status.inFlight)
    if (!one.status) notes.push(note("off", h("p", {}, `${one.version || one.release} is in flight; its stages are not shown`),
      h("p", { class: "dim" }, "Its execution is gone, or you have no permission to read it.")));
  for (const request of parts.requests || []) if (!dismissed.has(request.id)) notes.push(requestNote(request));
  keepFocus($("notes"), notes);
}

const dismissed = new Set(); // requests, by number

/** What was started on this page, on any tab. */
function requestNote(request) {
  const running = request.status === "RUNNING";
  const released = OUTCOMES[request.outcome] && (request.version || request.outcome !== "SUCCEEDED");
  const [kind, words] = running ? ["now", "it is running"]
    : released ? OUTCOMES[request.outcome]
    : ["SUCCEEDED", "ENDED"].includes(request.status) ? ["good", "done"] : ["bad", "failed"];
  const text = released && !running ? `${request.version ? `${request.version} is ` : ""}${words}` : words;
  const dismiss = h("button", { type: "button", class: "small", onclick: () => { dismissed.add(request.id); drawNotes(parts.status); } }, "Dismiss");
  return note(kind, h("div", { class: "line" }, h("p", {}, `Started here: ${text}`), !running && dismiss), h("p", {}, h("code", {}, request.command)),
    !(released && request.outcome === "SUCCEEDED") && request.reason && h("p", {}, request.reason), advice(request.advice));
}

function drawFailure(status) {
  const failed = status.lastFailure;
  const settled = failed && status.verified && failed.endedAt && status.verified.since > failed.endedAt;
  $("failure").hidden = !failed || settled;
  if (!failed || settled) return $("failure-body").replaceChildren();
  const key = failed.release;
  const shown = $("failure-body").dataset.release === key;
  if (shown) return;
  $("failure-body").dataset.release = key;
  $("failure-body").replaceChildren(
    h("p", {}, h("b", {}, failed.version), ` ${OUTCOMES[failed.outcome][1]}`, failed.endedAt && [", ", time(failed.endedAt)]),
    h("p", {}, failed.reason), failed.rollback && h("p", { class: "dim" }, failed.rollback), h("div", { id: "failure-more" }));
  release(key).then(({ document, logs }) => {
    const record = document.release;
    if (record && $("failure-body").dataset.release === key) $("failure-more").replaceChildren(...diagnosis(record, logs, false));
  }, () => {});
}

function drawBeside(status) {
  const { docs, build } = status;
  $("beside").hidden = !docs && !build;
  const rows = [];
  if (build) {
    const [kind, words] = build.outcome ? (build.outcome === "SUCCEEDED" ? ["good", "built"] : OUTCOMES[build.outcome]) : ["now", "in flight"];
    rows.push(h("dt", {}, "Build"), h("dd", {}, `${build.version} `, h("span", { class: "badge", "data-state": kind }, words), " ", time(build.startedAt), build.outcome !== "SUCCEEDED" && build.reason ? `: ${build.reason}` : ""));
  }
  if (docs)
    rows.push(h("dt", {}, "Documentation"), h("dd", {}, docs.url ? link(docs.url) : "", docs.version ? ` ${docs.version}` : "", docs.since ? [" since ", time(docs.since)] : "",
      docs.alarm && h("p", {}, docs.alarm), docs.mend && command(parts.commands.docs)));
  $("beside").replaceChildren(h("h2", {}, "Beside it"), h("dl", { class: "facts" }, rows));
}

function drawTitle(status) {
  const flight = status.inFlight[0];
  const mark = flight ? `▶ ${flight.version || "…"}` : status.alarm ? "⚠" : status.live ? "✓" : "";
  document.title = `${mark} ${status.service} ${status.live ? status.live.version : ""}`.trim();
}

// The deployments in flight -------------------------------------------------------------------

const shownFlights = new Map(); // by execution: their elements
const MARKS = { done: "✓", failed: "✕", again: "", now: "", ahead: "" };
const STATES = { done: "done", failed: "failed", again: "to be tried again", now: "now", ahead: "ahead" };

function drawFlights(flights) {
  const status = parts.status;
  for (const [execution, flight] of shownFlights)
    if (!flights.some((one) => one.execution === execution)) {
      flight.element.remove();
      shownFlights.delete(execution);
    }
  for (const one of flights) {
    let flight = shownFlights.get(one.execution);
    if (!flight) {
      flight = makeFlight(one);
      shownFlights.set(one.execution, flight);
      $("flights").append(flight.element);
    }
    drawFlight(flight, one, status);
  }
}

function makeFlight() {
  const title = h("h2"), badge = h("span", { class: "badge" }), clockOf = h("span", { class: "clock" });
  const way = h("ol", { class: "graph", "aria-label": "Stages" });
  const back = h("ol", { class: "graph back", "aria-label": "Stages after the failure" });
  const standing = h("p", { class: "standing" });
  const log = h("pre", { class: "log", role: "log", tabindex: "0", "aria-label": "Events and log lines of the new tasks", "aria-live": "off" });
  const phases = h("tbody");
  const console_ = h("p");
  const all = h("details", { class: "more" }, h("summary", {}, "Every stage, with what it found"), h("table", {},
    h("thead", {}, h("tr", {}, h("th", { class: "number" }, "At"), h("th", { class: "number" }, "Took"), h("th", {}, "Stage"), h("th", {}, "Result"))), phases), console_);
  const element = h("article", { class: "flight" }, h("header", {}, title, badge, clockOf), way, back, standing, log, all);
  return { element, title, badge, clock: clockOf, way, back, standing, log, phases, console: console_, count: 0, stage: "", ended: false };
}

function drawFlight(flight, one, status) {
  const entries = status ? [...status.inFlight, ...status.waiting] : [];
  const entry = entries.find((each) => each.execution === one.execution);
  const record = ((parts.history || {}).releases || []).find((each) => each.execution === one.execution || each.recoveredBy === one.execution);
  const known = entry || record;
  if (known) {
    flight.name = known.version || known.release || known.id;
    flight.title.textContent = `${flight.name}, ${known.recoveredBy === one.execution ? "recovery" : who(known)}`;
  } else if (!flight.title.textContent) flight.title.textContent = "A deployment";
  const running = one.status === "RUNNING";
  const [kind, words] = running ? ["now", "in flight"] : record && record.outcome ? outcome(record) : one.status === "SUCCEEDED" ? ["off", "ended"] : ["bad", one.status.toLowerCase()];
  flight.badge.dataset.state = kind;
  flight.badge.textContent = words;
  if (running) flight.clock.dataset.since = one.startedAt;
  else delete flight.clock.dataset.since;
  if (running) tick(flight.clock);
  else flight.clock.textContent = span(one.seconds);
  drawGraph(flight, one);
  const now = [...one.failure, ...one.stages].find((stage) => stage.state === "now" || stage.state === "failed");
  flight.standing.textContent = now && now.note ? `${now.name}: ${now.note}` : "";
  drawLines(flight, one);
  flight.phases.replaceChildren(...one.phases.map((phase) => phaseRow(phase)));
  flight.console.replaceChildren(link(one.link, "The execution in the AWS console"));
  const stage = now ? now.name : "";
  if (running && stage && stage !== flight.stage) say(`${flight.name}: ${stage}`);
  flight.stage = stage;
  if (!running && !flight.ended && record && record.outcome) {
    flight.ended = true;
    say(`${flight.name} ${words}. ${record.outcome === "SUCCEEDED" ? "" : record.reason || ""}`);
  }
}

function drawGraph(flight, one) {
  // from the failure, or the last stage, the way back leads to the left, if there is room
  const failed = one.stages.findLastIndex((stage) => stage.state === "failed");
  const from = failed < 0 ? one.stages.length - 1 : failed;
  const left = from + 1 >= one.failure.length;
  const columns = Math.max(one.stages.length, left ? 1 : from + one.failure.length);
  flight.way.style.setProperty("--columns", columns);
  flight.back.style.setProperty("--columns", columns);
  flight.back.classList.toggle("right", !left);
  const item = (stage) => {
    const took = stage.seconds !== null ? (stage.seconds >= 1 ? span(stage.seconds) : `${stage.seconds} s`) : "";
    return h("li", { "data-state": stage.state, "aria-current": stage.state === "now" ? "step" : null, title: stage.note || null },
      h("span", { class: "name" }, stage.name), h("span", { class: "knot", "aria-hidden": "true" }, MARKS[stage.state]),
      h("span", { class: "took" }, took), h("span", { class: "unseen" }, `, ${STATES[stage.state]}`));
  };
  update(flight.way, one.stages, (stage, index) => {
    const element = item(stage);
    element.classList.toggle("from", index === from && one.failure.length > 0);
    return element;
  }, one.failure.length > 0);
  flight.back.hidden = !one.failure.length;
  update(flight.back, one.failure, (stage, index) => {
    const element = item(stage);
    const name = element.querySelector(".name");
    element.querySelector(".knot").after(name); // below its knot: the line to the failure is above
    element.style.gridColumn = String(from + 1 + (left ? -index : index));
    element.style.gridRow = "1";
    return element;
  });
}

/** Replace only the children that changed, so that a screen reader stays where it is. */
function update(parent, items, make, depends) {
  items.forEach((item, index) => {
    const key = JSON.stringify([item, items.length, index, parent.style.cssText, depends]);
    const current = parent.children[index];
    if (current && current.dataset.key === key) return;
    const element = make(item, index);
    element.dataset.key = key;
    if (current) current.replaceWith(element);
    else parent.append(element);
  });
  while (parent.children.length > items.length) parent.lastChild.remove();
}

function drawLines(flight, one) {
  const log = flight.log;
  log.hidden = !one.count;
  const fresh = Math.min(one.count - flight.count, one.lines.length);
  if (one.count < flight.count) log.replaceChildren(...one.lines.flatMap((line) => [line, "\n"])); // read anew
  else if (fresh > 0) {
    const low = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
    for (const line of one.lines.slice(-fresh)) log.append(document.createTextNode(`${line}\n`));
    while (log.childNodes.length > 500) log.firstChild.remove();
    if (low) log.scrollTop = log.scrollHeight;
  }
  flight.count = one.count;
}

function phaseRow(phase) {
  const took = phase.seconds === null ? "" : `${phase.seconds.toFixed(1)} s`;
  return h("tr", { class: phase.failed ? "bad" : null }, h("td", { class: "number" }, `${phase.at.toFixed(1)} s`), h("td", { class: "number" }, took), h("td", {}, phase.name), h("td", {}, phase.note));
}

// Figures -------------------------------------------------------------------------------------

function drawStats({ stats }) {
  const { deployments, leadTime, failureRate, timeToRestore, weeks } = stats;
  const any = deployments.live || failureRate.of;
  $("figures").hidden = !any;
  if (!any) return;
  $("figures-title").textContent = `Figures of the last ${weeks} weeks`;
  const none = "none";
  const share = (value) => `${Math.round(value * 100)}%`;
  const tiles = [
    ["Deployment frequency", `${Math.round(deployments.perWeek * 10) / 10} a week`, `${deployments.live} went live`, deployments.series, (value) => `${value}`, ""],
    ["Lead time, push to live", leadTime.median === null ? none : span(leadTime.median), `median of ${leadTime.of}`, leadTime.series, span, ""],
    ["Change failure rate", failureRate.share === null ? none : share(failureRate.share), `${failureRate.failed} of ${failureRate.of}`, failureRate.series, share, "bad"],
    ["Time to restore", timeToRestore.median === null ? none : span(timeToRestore.median),
      `median of ${timeToRestore.of}${timeToRestore.unrestored ? `; ${timeToRestore.unrestored} not restored` : ""}`, timeToRestore.series, span, "bad"],
  ];
  $("figures-list").replaceChildren(...tiles.map(([what, amount, of, series, words, kind]) =>
    h("li", { class: kind }, h("p", { class: "what" }, what), h("p", { class: "amount" }, amount), plot(series, words, `${what}, by week`), h("p", { class: "of" }, of))));
}

/** A bar for each week, the last on the right. */
function plot(series, words, name) {
  const top = Math.max(...series.map((value) => value || 0));
  const wide = 12, high = 40;
  const values = series.map((value) => (value === null ? "none" : words(value))).join(", ");
  const bars = series.map((value, index) => {
    if (!value) return null;
    const height = Math.max(2, (value / top) * (high - 2));
    const weeks = series.length - 1 - index;
    const when = weeks ? `${weeks} ${weeks === 1 ? "week" : "weeks"} ago` : "the last 7 days";
    return svg("rect", { x: index * wide + 2, y: high - 1 - height, width: wide - 4, height, rx: 1 }, svg("title", {}, `${when}: ${words(value)}`));
  });
  return svg("svg", { viewBox: `0 0 ${series.length * wide} ${high}`, preserveAspectRatio: "none", role: "img", "aria-label": `${name}: ${values}` },
    svg("line", { x1: 0, x2: series.length * wide, y1: high - 0.5, y2: high - 0.5 }), ...bars.filter(Boolean));
}

// The timeline --------------------------------------------------------------------------------

const rows = new Map(); // by release: their element and its content
const FIRST = 10; // rows before the others are asked for
let every = false;

function drawHistory({ releases }) {
  $("none").hidden = releases.length > 0;
  const shown = every ? releases : releases.slice(0, FIRST);
  $("earlier").hidden = shown.length === releases.length;
  $("earlier").textContent = `Show ${releases.length - shown.length} earlier`;
  const order = shown.map((record) => {
    const key = JSON.stringify(record);
    let row = rows.get(record.id);
    if (!row) {
      row = { element: h("li", {}, h("details", {}, h("summary"), h("div", { class: "inside" }))) };
      row.element.firstChild.addEventListener("toggle", () => row.element.firstChild.open && drawRelease(row));
      rows.set(record.id, row);
    }
    if (row.key !== key) {
      row.key = key;
      row.record = record;
      drawRow(row);
    }
    return row.element;
  });
  const list = $("releases");
  order.forEach((element, index) => {
    if (list.children[index] !== element) list.insertBefore(element, list.children[index] || null);
  });
  while (list.children.length > order.length) list.lastChild.remove();
  if (parts.flights) drawFlights(parts.flights);
}

$("earlier").addEventListener("click", () => {
  every = true;
  drawHistory(parts.history);
  $("releases").children[FIRST].querySelector("summary").focus();
});

function drawRow(row) {
  const record = row.record;
  const [kind, then] = outcome(record);
  const words = then.replace("live and ", ""); // it need not be live any more
  const took = record.seconds === null ? "" : span(record.seconds);
  const plain = ["SUCCEEDED", undefined].includes(record.outcome) || record.trigger === "hold";
  const why = record.diagnosis ? record.diagnosis.cause : record.reason;
  row.element.querySelector("summary").replaceChildren(...[
    dot(kind), h("span", { class: "version-of" }, record.version), h("span", { class: "outcome", "data-state": kind }, words),
    h("span", { class: "by" }, who(record)), h("span", { class: "when" }, time(record.startedAt, true)),
    h("span", { class: "took" }, took), !plain && why && h("span", { class: "why" }, why)].filter(Boolean));
  if (row.element.firstChild.open) drawRelease(row);
}

async function release(id) {
  const response = await fetch(`release${query ? `${query}&` : "?"}id=${encodeURIComponent(id)}`);
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

async function drawRelease(row) {
  const inside = row.element.querySelector(".inside");
  if (row.drawn === row.key) return;
  row.drawn = row.key;
  if (!inside.children.length) inside.replaceChildren(h("p", { class: "dim" }, "Reading …"));
  let document_, logs;
  try {
    ({ document: document_, logs } = await release(row.record.id));
  } catch (error) {
    row.drawn = "";
    return inside.replaceChildren(h("p", {}, `It could not be read: ${error.message}`));
  }
  if (document_.error) return inside.replaceChildren(h("p", {}, document_.error.message), ...advice(document_.error.advice));
  const record = document_.release;
  const facts = [["release", h("code", {}, record.id)], ["started", time(record.startedAt)], ["took", record.seconds === null ? "" : span(record.seconds)],
    ["trigger", who(record)], ["why", !record.diagnosis && record.reason], ["tag", record.tag], ["digest", record.digest && h("code", {}, record.digest)],
    ["address", record.url && link(record.url)], ["back to", record.to], ["before it", record.previous && (record.previous.version || record.previous.taskDefinition.split("/").pop())],
    ["task definition", record.taskDefinition && record.taskDefinition.split("/").pop()], ["snapshot", record.snapshot],
    ["promoted", record.promotedFrom && `from ${record.promotedFrom.service} ${record.promotedFrom.version}`]];
  const list = h("dl", { class: "facts" }, facts.filter(([, value]) => value).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
  const content = [list, ...diagnosis(record, logs, true)];
  if (document_.changes && document_.changes.length) content.push(h("h3", {}, "Difference to the one before"), changes(document_.changes, "before", "then"));
  else if (document_.changes) content.push(h("h3", {}, "Difference to the one before"), h("p", { class: "dim" }, "None: the same task definition."));
  if (document_.phases && document_.phases.length)
    content.push(h("details", { class: "more" }, h("summary", {}, "Every stage, with what it found"), h("table", {}, h("tbody", {}, document_.phases.map(phaseRow)))));
  if (record.outcome === "SUCCEEDED" && record.trigger !== "hold")
    content.push(h("button", { type: "button", onclick: () => rollBack(record.id) }, `Roll back to ${record.version}…`));
  inside.replaceChildren(...content);
}

/** Why a release failed, and what to do. */
function diagnosis(record, logs, whole) {
  const failure = record.diagnosis;
  if (!failure) return [];
  const content = whole ? [h("h3", {}, "Why it failed"), h("p", {}, failure.cause)] : [];
  const blocks = [["Tasks that stopped", failure.stops], ["Last lines of the log", failure.log || failure.lines], ["Events of the service, newest first", whole && failure.events]];
  for (const [title, lines] of blocks) if (lines && lines.length) content.push(h("h3", {}, title), h("pre", { tabindex: "0", "aria-label": title, role: "group" }, lines.join("\n")));
  if (failure.advice) content.push(h("h3", {}, "What to do"), h("p", {}, failure.advice));
  content.push(h("h3", {}, "All that it logged"), command(logs));
  return content;
}

function changes(list, before, then) {
  return h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, "what"), h("th", {}, before), h("th", {}, then))),
    h("tbody", {}, list.map((change) => h("tr", {}, h("td", {}, change.what), h("td", {}, h("del", {}, change.before ?? "–")), h("td", {}, h("ins", {}, change.after ?? "–"))))));
}

// The buttons ---------------------------------------------------------------------------------

const dialog = $("dialog");
let ask = 0; // a number of each question: an answer to an earlier one is not shown

async function post(name, request) {
  const response = await fetch(`${name}${query}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(request) });
  if (!response.ok) throw new Error((await response.text()).trim());
  return response.json();
}

/** Open the dialog. */
function open(title, body, yes, request) {
  ask += 1;
  $("dialog-title").textContent = title;
  $("dialog-body").replaceChildren(...body);
  $("dialog-dry").replaceChildren();
  $("dialog-equals").hidden = true;
  const button = $("dialog-yes");
  button.hidden = !yes;
  button.disabled = true;
  button.textContent = yes || "";
  button.classList.toggle("danger", request?.().action === "cancel");
  button.onclick = () => act(request());
  $("dialog-no").textContent = yes ? "Do nothing" : "Close";
  if (!dialog.open) dialog.showModal();
}

$("dialog-no").addEventListener("click", () => dialog.close());

/** Show what the command would change; only then the button can be pressed. */
async function preview(request) {
  const mine = (ask += 1);
  $("dialog-yes").disabled = true;
  $("dialog-dry").replaceChildren(h("p", { class: "dim" }, "Checking what it would change …"));
  try {
    const { command: line, document } = await post("preview", request);
    if (mine !== ask) return;
    equals(line);
    $("dialog-dry").replaceChildren(...(document ? dry(document) : []));
    $("dialog-yes").disabled = !!(document && document.error);
    return document;
  } catch (error) {
    if (mine === ask) $("dialog-dry").replaceChildren(failed(error));
  }
}

/** Keep the shown command as the fields say it. */
async function equalsNow(request) {
  const mine = ask;
  try {
    const { command: line } = await post("command", request);
    if (mine === ask) equals(line);
  } catch {
    // the button says what is wrong
  }
}

function equals(line) {
  $("dialog-equals").hidden = false;
  $("dialog-equals").querySelector(".copy").replaceWith(command(line));
}

function failed(error) {
  return note("bad", h("p", {}, "It could not be asked."), h("p", {}, error instanceof TypeError ? "The page's server does not answer." : error.message));
}

/** What a dry run says. */
function dry(document) {
  const content = [];
  if (document.error) content.push(note("bad", h("p", {}, document.error.message), ...advice(document.error.advice)));
  if (document.dryRun) {
    const { release: next, live, taskDefinition: definition, lock, hold } = document;
    const to = definition.becomes ? definition.becomes.split("/").pop() : "a new one is registered";
    const database = { BACK_UP: "a snapshot first", RESTORE: `snapshot ${document.restore} is restored` };
    const facts = [["runs now", live ? live.version : "nothing"], ["then", next.version], ["task definition", to],
      ["database", database[document.database] || "no snapshot"], ["if it fails", document.automaticRollback ? "it is rolled back" : "no automatic rollback"],
      ["lock", lock ? `${lock.release} holds it; this would wait` : "free"],
      ["hold", document.holdAfter ? "later pushes are held until someone resumes" : hold ? "the hold ends" : "none"]];
    content.push(h("div", { class: "dry" }, h("dl", { class: "facts" }, facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      definition.changes.length ? changes(definition.changes, "runs", "would run") : h("p", { class: "dim" }, "The task definition does not change."),
      document.warnings.map((check) => h("p", {}, `! ${check.name}: ${check.finding}`))));
  }
  return content;
}

/** Run the command. */
async function act(request) {
  const button = $("dialog-yes");
  const mine = ask;
  button.disabled = true;
  $("dialog-no").textContent = "Close";
  $("dialog-dry").replaceChildren(h("p", { class: "dim" }, "Running it; it goes on if you close this …"));
  try {
    const { document } = await post("act", request);
    if (document.error) {
      if (mine === ask) $("dialog-dry").replaceChildren(note("bad", h("p", {}, document.error.message), ...advice(document.error.advice)));
      say(document.error.message);
      return document;
    }
    say("Started.");
    if (mine === ask && request.action !== "doctor") dialog.close();
    return document;
  } catch (error) {
    if (mine === ask) $("dialog-dry").replaceChildren(failed(error));
    say("It could not be asked.");
  }
}

function reasonField(request) {
  const field = h("input", { type: "text", maxlength: "300", autocomplete: "off" });
  field.addEventListener("change", () => equalsNow(request()));
  return [field, h("label", { class: "field" }, "Reason, for the record", field)];
}

async function rollBack(chosen) {
  const choice = h("fieldset", {}, h("legend", {}, "Roll back to"), h("p", { class: "dim" }, "Reading the releases …"));
  const holds = h("input", { type: "checkbox" });
  holds.checked = true;
  let to = null;
  const request = () => ({ action: "rollback", release: to, hold: holds.checked, ...(field.value ? { reason: field.value } : {}) });
  const [field, label] = reasonField(() => request());
  open(`Roll ${service} back`, [choice, label, h("label", {}, holds, "Hold later pushes until someone resumes")], "Roll back", request);
  const mine = ask;
  const look = () => {
    const record = listed.find((each) => each.id === to);
    $("dialog-yes").textContent = `Roll back to ${record ? record.version : "it"}`;
    return preview(request());
  };
  holds.addEventListener("change", () => to && look());
  let listed = [];
  try {
    const { document } = await post("preview", { action: "rollback" });
    if (mine !== ask) return;
    listed = document.candidates || [];
    if (!listed.length) return choice.replaceChildren(h("legend", {}, "Roll back to"), note("bad", h("p", {}, document.error.message), ...advice(document.error.advice)));
  } catch (error) {
    if (mine === ask) choice.replaceChildren(failed(error));
    return;
  }
  if (chosen && !listed.some((each) => each.id === chosen)) {
    const record = rows.get(chosen)?.record;
    if (record) listed = [{ id: record.id, version: record.version, endedAt: record.endedAt, possible: true, refusal: null }, ...listed];
  }
  const first = listed.find((each) => each.id === chosen) || listed.find((each) => each.possible);
  const radios = listed.map((each) => {
    const radio = h("input", { type: "radio", name: "to", value: each.id, disabled: !each.possible });
    radio.checked = each === first;
    radio.addEventListener("change", () => { to = each.id; look(); });
    return h("label", {}, radio, h("span", {}, h("b", {}, each.version), " ", h("span", { class: "dim" }, each.refusal ? each.refusal : ["live since ", time(each.endedAt)])));
  });
  const possible = radios.filter((_, index) => listed[index].possible);
  const refused = radios.filter((_, index) => !listed[index].possible);
  choice.replaceChildren(h("legend", {}, "Roll back to"), ...possible,
    ...(refused.length ? [h("details", { class: "more" }, h("summary", {}, `${refused.length} not possible now`), refused)] : []));
  choice.querySelector("input:checked")?.focus();
  if (first) {
    to = first.id;
    look();
  }
}

$("rollback").addEventListener("click", () => rollBack(null));

$("hold").addEventListener("click", () => {
  const request = () => ({ action: "hold", ...(field.value ? { reason: field.value } : {}) });
  const [field, label] = reasonField(request);
  const what = h("p", {}, "Pushes are recorded as held and not deployed, until someone resumes or deploys by hand. What is in flight goes on.");
  open(`Hold the pushes of ${service}`, [what, label], "Hold pushes", request);
  field.focus();
  preview(request());
});

$("resume").addEventListener("click", () => {
  const held = parts.status.hold && parts.status.hold.newestHeld;
  const request = () => ({ action: "resume", ...(held ? { release: held.digest } : {}) });
  const what = held ? `The hold ends, and ${held.version}, the newest push that was held, is deployed.` : "The hold ends. No push was held, so nothing is deployed.";
  open(`Resume ${service}`, [h("p", {}, what)], "Resume", request);
  preview(request());
});

$("cancel").addEventListener("click", () => {
  const [flight] = parts.status.inFlight;
  if (!flight) return;
  const request = () => ({ action: "cancel", release: flight.release });
  const live = parts.status.verified;
  open(`Cancel ${flight.version || flight.release}`, [
    h("p", {}, `It is in flight: ${flight.phase || "its stage is unknown"}, ${who(flight)}.`),
    h("p", {}, live ? `It is stopped, and what it changed is rolled back to ${live.version}, as after a failure.` : "It is stopped, and what it changed is rolled back, as after a failure."),
  ], "Cancel it", request);
  preview(request());
});

$("doctor").addEventListener("click", async () => {
  open(`Checks of ${service}`, [h("p", { class: "dim" }, "Checking the account and the service …")], null);
  const mine = ask;
  try {
    const { command: line, document } = await post("act", { action: "doctor" });
    if (mine !== ask) return;
    equals(line);
    const order = { failed: 0, warning: 1, ok: 2 };
    const marks = { failed: ["bad", "✕"], warning: ["wait", "!"], ok: ["good", "✓"] };
    const checks = [...(document.checks || [])].sort((a, b) => order[a.state] - order[b.state]);
    if (!checks.length && document.error) return $("dialog-body").replaceChildren(note("bad", h("p", {}, document.error.message), ...advice(document.error.advice)));
    const counts = Object.keys(order).map((each) => [checks.filter((check) => check.state === each).length, each]).filter(([count]) => count);
    $("dialog-body").replaceChildren(h("p", {}, counts.map(([count, each]) => `${count} ${each}`).join(", ")), h("ul", { class: "checks" }, checks.map((check) =>
      h("li", {}, h("span", { class: "badge", "data-state": marks[check.state][0] }, marks[check.state][1], h("span", { class: "unseen" }, check.state)), " ", h("b", {}, check.name), `: ${check.finding}`,
        check.why && h("p", { class: "dim" }, check.why), check.evidence && h("pre", {}, check.evidence.join("\n")), advice(check.fix)))));
  } catch (error) {
    if (mine === ask) $("dialog-body").replaceChildren(failed(error));
  }
});

// Events --------------------------------------------------------------------------------------

const DRAW = { services: drawServices, commands: () => {}, status: drawStatus, history: drawHistory, stats: drawStats, flights: drawFlights, requests: () => parts.status && drawNotes(parts.status), drift: () => parts.status && drawNotes(parts.status), problem: drawProblem };
let source = null, heard = 0, gone = 0;

function take(name, document_) {
  const before = parts[name];
  parts[name] = document_;
  DRAW[name]?.(document_);
  if (name === "requests") announce(before || [], document_);
  if (name === "status" && parts.flights) drawFlights(parts.flights);
}

function announce(before, requests) {
  for (const request of requests) {
    const earlier = before.find((each) => each.id === request.id);
    if (earlier && earlier.status === "RUNNING" && request.status !== "RUNNING") say(`${request.command}: ${request.outcome || request.status}. ${request.reason || ""}`);
  }
}

function drawProblem(problem) {
  document.body.classList.toggle("old", !!problem);
  const text = problem && `What is shown may be old. ${problem.message}`;
  const environment = about.environment ? " It has the credentials of its shell: for others, start it again." : "";
  const again = problem && h("p", { class: "dim" }, `Nothing in AWS is affected. The page tries again by itself.${environment}`);
  $("problem").replaceChildren(...(problem ? [note("bad", h("p", {}, text), ...advice(problem.advice), again)] : []));
  drawPulse();
}

function drawPulse() {
  const problem = parts.problem;
  const [kind, text] = gone ? ["old", "not connected"] : problem ? ["old", "old"] : heard ? ["live", "live"] : ["wait", "connecting"];
  $("pulse").dataset.state = kind;
  if ($("pulse-text").textContent !== text) $("pulse-text").textContent = text;
  if (gone && Date.now() - gone > 4000 && !$("gone")) {
    const words = "The page's server does not answer: it may have ended. Nothing in AWS is affected. Start it again:";
    $("problem").replaceChildren(h("div", { class: "note", "data-state": "bad", id: "gone" }, h("p", {}, words), command(about.restart), h("p", { class: "dim" }, "It prints a new address.")));
    document.body.classList.add("old");
  }
}

function listen() {
  source?.close();
  source = new EventSource(`events${query}`);
  source.onopen = () => {
    heard = Date.now();
    if (gone) { gone = 0; drawProblem(parts.problem); }
    drawPulse();
  };
  source.onerror = () => {
    gone = gone || Date.now();
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
    drawPulse();
  };
  for (const name of Object.keys(DRAW)) source.addEventListener(name, (event) => take(name, JSON.parse(event.data)));
}

// a tab that nobody sees for minutes stops reading, so that AWS is not asked for nothing
let sleep = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(sleep);
  if (document.hidden) sleep = setTimeout(() => { source.close(); source = null; }, 5 * 60 * 1000);
  else if (!source) listen();
});

$("where").textContent = `${about.by} · ${about.account} · ${about.region}${about.stack === "deployer" ? "" : ` · ${about.stack}`}`;
$("foot").textContent = "Served by this machine, with your credentials. Times are of your time zone.";
$(service ? "one" : "all").hidden = false;
if (service) $("name").textContent = service;
for (const name of ["status", "history", "services", "stats", "flights", "requests", "problem"]) if (name in state.parts) take(name, state.parts[name]);
listen();
