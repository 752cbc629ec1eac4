// Real browsers with a fake camera and a fake microphone, headless, ready for media over this machine's own addresses.
// Chromium over its DevTools protocol, Firefox over WebDriver BiDi.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import puppeteer from "puppeteer-core";

import { writeTone } from "./tones.mjs";

/** @typedef {"chromium" | "firefox"} BrowserName */

const EXECUTABLES = {
  chromium: process.env.CHROMIUM ?? "/usr/bin/chromium",
  firefox: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
};

const CHROMIUM_ARGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
  "--disable-extensions", "--disable-domain-reliability", "--metrics-recording-only", "--no-default-browser-check",
  "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--auto-select-desktop-capture-source=Entire screen",
  "--allow-loopback-in-peer-connection", "--autoplay-policy=no-user-gesture-required",
  // A page that is not in front has to go on like one that is.
  "--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding",
  "--disable-features=WebRtcHideLocalIpsWithMdns,OptimizationHints,MediaRouter,Translate,CalculateNativeWinOcclusion",
];

/**
 * Firefox gathers this machine's addresses but never pairs one with 127.0.0.1, whatever its preferences say; media goes
 * over the machine's own address, which a bridge announces too.
 */
const FIREFOX_PREFERENCES = {
  "media.peerconnection.ice.loopback": true,
  "media.peerconnection.ice.obfuscate_host_addresses": false,
  "media.navigator.streams.fake": true,
  "media.navigator.permission.disabled": true,
  "media.autoplay.default": 0,
  // Silence what would leave the machine: telemetry, updates, settings, plugins, the portal check.
  "toolkit.telemetry.enabled": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "app.update.enabled": false,
  "app.normandy.enabled": false,
  "browser.safebrowsing.malware.enabled": false,
  "browser.safebrowsing.phishing.enabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "services.settings.server": "http://127.0.0.1:9/",
  "extensions.update.enabled": false,
  "media.gmp-manager.url": "http://127.0.0.1:9/",
  "media.gmp-manager.updateEnabled": false,
  "dom.push.connection.enabled": false,
};

/** A browser that is not up within this will not come up. */
const PROTOCOL_TIMEOUT_MS = 60_000;

/**
 * @param {BrowserName} name
 * @param {{ toneHz?: number, authority?: string }} [options]  What its microphone hears; whose certificates it trusts besides.
 */
export async function launch(name, { toneHz = 440, authority } = {}) {
  const profile = mkdtempSync(join(tmpdir(), `passerelle-${name}-`));
  // Chromium looks in its person's home, which is then the profile, too.
  const certificates = name === "firefox" ? profile : join(profile, ".pki", "nssdb");
  if (authority) trust(certificates, authority);
  const browser = await (name === "firefox" ? launchFirefox(profile, toneHz) : launchChromium(profile, toneHz));
  return {
    name,
    toneHz,
    browser,
    close: async () => {
      await browser.close().catch(() => browser.process()?.kill("SIGKILL"));
      rmSync(profile, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

/** @typedef {Awaited<ReturnType<typeof launch>>} Launched */

/**
 * The page's connection and that to a relay are checked by the browser itself: no switch of its driver reaches the latter.
 *
 * @param {string} folder
 * @param {string} authority  PEM file.
 */
function trust(folder, authority) {
  mkdirSync(folder, { recursive: true });
  execFileSync("certutil", ["-N", "-d", `sql:${folder}`, "--empty-password"]);
  execFileSync("certutil", ["-A", "-d", `sql:${folder}`, "-n", "tests", "-t", "C,,", "-i", authority]);
}

/**
 * @param {string} profile
 * @param {number} toneHz
 */
function launchChromium(profile, toneHz) {
  const voice = join(profile, "voice.wav");
  writeTone(voice, toneHz);
  return puppeteer.launch({
    browser: "chrome",
    executablePath: EXECUTABLES.chromium,
    headless: true,
    args: [...CHROMIUM_ARGS, `--user-data-dir=${profile}`, `--use-file-for-fake-audio-capture=${voice}`],
    env: { ...process.env, HOME: profile },
    protocolTimeout: PROTOCOL_TIMEOUT_MS,
  });
}

/**
 * @param {string} profile
 * @param {number} toneHz
 */
function launchFirefox(profile, toneHz) {
  return puppeteer.launch({
    browser: "firefox",
    executablePath: EXECUTABLES.firefox,
    headless: true,
    userDataDir: profile,
    extraPrefsFirefox: { ...FIREFOX_PREFERENCES, "media.navigator.audio.fake_frequency": toneHz },
    protocolTimeout: PROTOCOL_TIMEOUT_MS,
  });
}
