// A planner opens the report of a load test: in one file, with charts, on a desk and on a phone, by day and by night, and
// nothing in it reaches out or runs.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { launch } from "./support/browsers.mjs";
import { startPasserelle } from "./support/servers.mjs";

/** @import { Launched } from "./support/browsers.mjs" */

const PROGRAMS = process.env.PASSERELLE_PROGRAMS ?? fileURLToPath(new URL("../../target/release/", import.meta.url));
const ARTIFACTS = fileURLToPath(new URL("../../artifacts/", import.meta.url));
const SUITE_TIMEOUT_MS = 120_000;
/** Joining, five seconds, leaving, and the servers' counts coming to rest. */
const RUN_TIMEOUT_MS = 60_000;
const CHARTS = ["callers", "packets", "loss", "delay", "busy", "cdf", "joins"];
/** Smaller letters cannot be read on a phone without spreading two fingers. */
const LETTERS_PX_MIN = 8;

const VIEWS = [
  { name: "desktop", width: 1280, height: 800, isMobile: false, deviceScaleFactor: 1 },
  { name: "phone", width: 390, height: 844, isMobile: true, deviceScaleFactor: 2 },
];

const SCENARIO = `
description = "2 conferences of 2, everybody sends and sees"
conferences = 2
duration_s = 5
warm_up_s = 1
joins_per_s = 4

[[groups]]
name = "participants"
per_conference = 2
voice = {}
camera = {}

[thresholds]
failed_joins_max = 0
loss_max = 0.01
`;

const ATTACK = `</title><script>window.attacked = 1</script><img src="http://127.0.0.1:9/x" onerror="window.attacked = 2">`;

/** @type {string} */ let folder;
/** @type {Awaited<ReturnType<typeof startPasserelle>>} */ let server;
/** @type {Launched} */ let chromium;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "passerelle-report-"));
  mkdirSync(ARTIFACTS, { recursive: true });
  server = await startPasserelle();
  chromium = await launch("chromium");
}, { timeout: SUITE_TIMEOUT_MS });

after(async () => {
  await chromium?.close();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/**
 * Runs a scenario and resolves to what was printed, the exit code, and where the page is.
 *
 * @param {string} name
 * @param {string} scenario
 * @param {string[]} flags
 * @returns {Promise<{ code: number, printed: string, page: string, json: () => any }>}
 */
function loadtest(name, scenario, flags) {
  const file = join(folder, `${name}.toml`);
  const out = join(folder, name);
  writeFileSync(file, scenario);
  const args = ["run", file, "--out", out, "--no-progress", ...flags];
  return new Promise((resolve, reject) => {
    execFile(join(PROGRAMS, "loadtest"), args, { timeout: RUN_TIMEOUT_MS }, (error, stdout, stderr) => {
      if (error && typeof error.code !== "number") return reject(error);
      const page = pathToFileURL(join(out, "report.html")).href;
      const json = () => JSON.parse(readFileSync(join(out, "report.json"), "utf8"));
      resolve({ code: Number(error?.code ?? 0), printed: stdout + stderr, page, json });
    });
  });
}

/**
 * Opens a page and collects everything that it asks for or complains about.
 *
 * @param {string} url
 * @param {typeof VIEWS[number]} view
 * @param {"light" | "dark"} scheme
 */
async function open(url, view, scheme) {
  const page = await chromium.browser.newPage();
  /** @type {string[]} */ const trouble = [];
  page.on("request", (request) => {
    if (request.url() !== url && !request.url().startsWith("data:")) trouble.push(`asks for ${request.url()}`);
  });
  page.on("console", (message) => trouble.push(`says ${message.text()}`));
  page.on("pageerror", (error) => trouble.push(`breaks with ${error}`));
  page.on("dialog", (dialog) => {
    trouble.push(`asks ${dialog.message()}`);
    dialog.dismiss();
  });
  await page.setViewport(view);
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(url, { waitUntil: "networkidle0" });
  return { page, trouble };
}

/** @param {import("puppeteer-core").Page} page */
const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);

/** Each chart: its name, its size on the page, how much of it is data, how small its letters are. @param {import("puppeteer-core").Page} page */
const charts = (page) =>
  page.$$eval('svg[role="img"]', (all) =>
    all.map((svg) => {
      const { width, height } = svg.getBoundingClientRect();
      const letters = [...svg.querySelectorAll("text")].map((text) => parseFloat(text.getAttribute("font-size") ?? "0"));
      const scale = width / /** @type {SVGSVGElement} */ (svg).viewBox.baseVal.width;
      return {
        id: (svg.getAttribute("aria-labelledby") ?? "").split("-")[0] ?? "",
        named: (svg.querySelector("title")?.textContent ?? "") !== "" && (svg.querySelector("desc")?.textContent ?? "") !== "",
        width,
        height,
        marks: svg.querySelectorAll("polyline, rect, circle").length,
        letters: Math.min(...letters) * scale,
        figures: svg.closest("figure")?.querySelectorAll("tbody tr").length ?? 0,
      };
    }));

describe("a report in Chromium", { timeout: SUITE_TIMEOUT_MS }, () => {
  /** @type {Awaited<ReturnType<typeof loadtest>>} */ let run;

  before(async () => {
    const target = ["--target", server.page, "--stats", `${server.bridgeRest}/stats`, "--stats", `${server.rest}/stats`];
    run = await loadtest("two-by-two", SCENARIO, target);
    assert.equal(run.code, 0, run.printed);
  }, { timeout: RUN_TIMEOUT_MS });

  test("tells on the terminal what the page tells", () => {
    for (const text of ["two-by-two", "The run is complete", "All 2 thresholds hold.", "packet counts agree"]) {
      assert.ok(run.printed.includes(text), `${text}\n${run.printed}`);
    }
    const { joins, counts, agreement } = run.json();
    assert.deepEqual([joins.begun, joins.succeeded], [4, 4]);
    assert.ok(counts.packets_received > 1000 && Math.abs(agreement.difference) <= 0.01, JSON.stringify({ counts, agreement }));
  });

  for (const view of VIEWS) {
    for (const scheme of /** @type {const} */ (["light", "dark"])) {
      test(`is whole on a ${view.name} in ${scheme}`, async () => {
        const { page, trouble } = await open(run.page, view, scheme);
        await page.screenshot({ path: join(ARTIFACTS, `report-${view.name}-${scheme}.png`), fullPage: true });
        assert.deepEqual(trouble, []);
        assert.ok((await overflow(page)) <= 0, "nothing stands beyond the right edge");
        const found = await charts(page);
        assert.deepEqual(found.map(({ id }) => id), CHARTS);
        for (const chart of found) {
          assert.ok(chart.named && chart.figures > 0, `${chart.id} can be read without being seen`);
          assert.ok(chart.width >= 300 && chart.height >= 150 && chart.marks >= 2, `${chart.id} is seen: ${JSON.stringify(chart)}`);
          assert.ok(chart.letters >= LETTERS_PX_MIN, `${chart.id} can be read: letters of ${chart.letters} px`);
        }
        await page.close();
      });
    }
  }

  test("is light by day and dark by night, words and charts", async () => {
    const seen = [];
    for (const scheme of /** @type {const} */ (["light", "dark"])) {
      const { page } = await open(run.page, /** @type {typeof VIEWS[number]} */ (VIEWS[0]), scheme);
      seen.push(await page.evaluate(() => {
        const brightness = (/** @type {string} */ colour) => (colour.match(/\d+/g) ?? []).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 765;
        const text = document.querySelector('svg[role="img"] text');
        return { paper: brightness(getComputedStyle(document.body).backgroundColor), letters: text ? brightness(getComputedStyle(text).fill) : 0.5 };
      }));
      await page.close();
    }
    const [light, dark] = seen;
    assert.ok(light && light.paper > 0.9 && light.letters < 0.4, JSON.stringify(seen));
    assert.ok(dark && dark.paper < 0.2 && dark.letters > 0.6, JSON.stringify(seen));
  });

  test("shows a failed run with hostile names as text, and runs nothing of it", async () => {
    const hostile = `${SCENARIO.replace('"participants"', `'${ATTACK}'`)}\n`.replace("conferences = 2", `name = '${ATTACK}'\nconferences = 1`);
    // Port 9 discards, where anything listens on it at all.
    const failed = await loadtest("hostile", hostile, ["--target", "http://127.0.0.1:9", "--stats", "http://127.0.0.1:9/stats"]);
    assert.equal(failed.code, 1, failed.printed);
    const { page, trouble } = await open(failed.page, /** @type {typeof VIEWS[number]} */ (VIEWS[1]), "light");
    await page.screenshot({ path: join(ARTIFACTS, "report-failed-phone.png"), fullPage: true });
    assert.deepEqual(trouble, []);
    assert.equal(await page.$eval("h1", (heading) => heading.textContent), ATTACK);
    assert.equal(await page.evaluate(() => "attacked" in window), false);
    assert.equal(await page.$$eval("script, img, iframe, object, a", (all) => all.length), 0);
    assert.ok((await overflow(page)) <= 0, "a long name stays inside");
    assert.match(await page.$eval(".statements", (list) => list.textContent ?? ""), /The run failed after/);
    await page.close();
  });
});
